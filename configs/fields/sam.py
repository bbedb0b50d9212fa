"""The perturbation."""

from configs.fields.field import MAX_DEPTH
from configs.fields.field import Field
from configs.fields.field import NotEmpty

_SAM = {"optimizer": ("sam",)}

FIELDS: dict[str, Field] = {
  "rho": Field(
    0.05,
    "size of the perturbation (the radius of the ball in weight space)",
    minimum=0.0,
    read_if=_SAM,
  ),
  "stage_rho_factors": Field(
    (),
    "factor on rho in each stage after the first",
    above=0.0,
    entries=float,
    read_if={**_SAM, "stage_starts": NotEmpty()},
  ),
  "perturbation": Field(
    "normalized",
    "'normalized': rho g/||g||; 'unnormalized': rho g; 'adaptive': ASAM,"
    " rho T^2 g/||T g|| with T = |w| + asam_eta",
    choices=("normalized", "unnormalized", "adaptive"),
    read_if=_SAM,
  ),
  "asam_eta": Field(
    0.01,
    "added to |w| in the adaptive perturbation",
    minimum=0.0,
    read_if={**_SAM, "perturbation": ("adaptive",)},
  ),
  "ascent_steps": Field(
    1,
    "ascent steps of length rho, each projected back to the ball of radius rho",
    minimum=1,
    maximum=MAX_DEPTH,
    read_if=_SAM,
  ),
  "microbatch_size": Field(
    0,
    "examples that share a perturbation (m-sharpness), at most the per-device"
    " batch and a divisor of it; 0: the per-device batch, as published",
    minimum=0,
    read_if=_SAM,
  ),
  "perturb_only": Field(
    "",
    'parameters that are perturbed, by patterns such as "norm,*/bias"; norms'
    " are taken over them. A pattern is compared with the path of a parameter,"
    " such as 'Dense_0/kernel', and with each part of it; * is any text, and"
    " 'norm' stands for all normalization layers. '': all parameters",
    read_if=_SAM,
  ),
  "perturb_except": Field(
    "",
    "parameters that are not perturbed, by such patterns; '': none",
    read_if=_SAM,
  ),
  "sync_perturbation": Field(
    False,
    "average the ascent gradient over devices before the perturbation",
    read_if=_SAM,
  ),
  "sam_begin": Field(
    0.0,
    "fraction of training at which SAM starts; before it, the base optimizer",
    minimum=0.0,
    maximum=1.0,
    read_if=_SAM,
  ),
  "sam_end": Field(
    1.0,
    "fraction of training at which SAM ends; after it, the base optimizer",
    minimum=0.0,
    maximum=1.0,
    read_if=_SAM,
  ),
}
