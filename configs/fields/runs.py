"""Several runs in one program, and the devices of each."""

from configs.fields import data
from configs.fields import optimization
from configs.fields import pruning
from configs.fields import sam
from configs.fields.field import Field

_LISTED = data.FIELDS | pruning.FIELDS | optimization.FIELDS | sam.FIELDS

FIELDS: dict[str, Field] = {
  **{
    f"sweep.{name}": Field(
      (),
      f"values of `{name}`, such as {example}: the product over all swept"
      " fields trains in one program. Runs of one seed share initial weights,"
      " split and data order",
      each=_LISTED[name],
    )
    for name, example in (
      ("label_noise", '"(0.,0.5)"'),
      ("sparsity", '"(0.,0.9)"'),
      ("learning_rate", '"(0.1,0.05)"'),
      ("weight_decay", '"(0.,1e-4)"'),
      ("rho", '"(0.,0.05,0.1)", where 0 is the base optimizer'),
      ("seed", '"(0,1,2)"'),
    )
  },
  "sweep_mode": Field(
    "auto",
    "'vmap': many runs of a sweep in each operation; 'loop': one after the"
    " other, compiled once a device; 'auto': loop for convolutional models and"
    " streamed data, else vmap",
    choices=("auto", "vmap", "loop"),
    read_if={"sweep": (True,)},
  ),
  "devices_per_run": Field(
    0,
    "devices over which the batch of a run is spread; 0: all of them, but 1 in"
    " a sweep, whose runs are spread over the devices instead",
    minimum=0,
  ),
}
