"""Pruning at initialization."""

from configs.fields.field import Field
from configs.fields.field import Positive

_PRUNED = {"sparsity": Positive()}

FIELDS: dict[str, Field] = {
  "sparsity": Field(
    0.0,
    "fraction of the weights of every (or all) kernels that is pruned",
    minimum=0.0,
    maximum=1.0,
  ),
  "pruner": Field(
    "none",
    "'random': per layer; 'magnitude': |w|; 'snip': |w dL/dw| on one training"
    " batch, over all layers",
    choices=("none", "random", "magnitude", "snip"),
    read_if=_PRUNED,
  ),
  "magnitude_scope": Field(
    "global",
    "whether magnitudes are compared within a layer or over all layers",
    choices=("layer", "global"),
    read_if={**_PRUNED, "pruner": ("magnitude",)},
  ),
}
