"""How the weights are updated, and for how long."""

from configs import kinds
from configs.fields.field import Field
from configs.fields.field import NotEmpty
from configs.fields.field import Positive

_ADAM = {"base": ("adam", "adamw")}

FIELDS: dict[str, Field] = {
  "optimizer": Field(
    "sam",
    "'sam' wraps `base_optimizer`; the others train without perturbation",
    choices=("sgd", "sam", "adam", "adamw"),
  ),
  "base_optimizer": Field(
    "sgd",
    "what SAM's gradient is handed to",
    choices=("sgd", "adam", "adamw"),
    read_if={"optimizer": ("sam",)},
  ),
  "learning_rate": Field(0.1, "peak learning rate", minimum=0.0),
  "lr_scheduler": Field(
    "step",
    "'step': x0.1 at 50 and 75 % of the steps; 'step_mnist': x0.1 at 25, 50"
    " and 75 %; 'step_half': x0.1 at 50 %; 'cosine', 'linear': to 0;"
    " 'inverse_sqrt': min(t, warmup)/warmup/sqrt(max(t, warmup)), unscaled",
    choices=(
      "constant",
      "step",
      "step_mnist",
      "step_half",
      "cosine",
      "linear",
      "inverse_sqrt",
    ),
  ),
  "stage_starts": Field(
    (),
    "fractions of training, ascending, at which further stages start; () is one"
    " stage",
    above=0.0,
    below=1.0,
    entries=float,
  ),
  "stage_lr_factors": Field(
    (),
    "factor on the learning rate, beside that of lr_scheduler, in each stage"
    " after the first",
    above=0.0,
    entries=float,
    read_if={"stage_starts": NotEmpty()},
  ),
  "warmup_steps": Field(
    0,
    "steps of linear warm-up from 0",
    minimum=0,
    read_if={"lr_scheduler": ("cosine", "inverse_sqrt")},
  ),
  "momentum": Field(
    0.9,
    "momentum of SGD, heavy-ball unless `nesterov`",
    minimum=0.0,
    below=1.0,
    read_if={"base": ("sgd",)},
  ),
  "nesterov": Field(
    False,
    "whether the momentum of SGD is Nesterov's",
    read_if={"base": ("sgd",)},
  ),
  "adam_b1": Field(
    0.9, "decay of Adam's mean", minimum=0.0, below=1.0, read_if=_ADAM
  ),
  "adam_b2": Field(
    0.999, "decay of Adam's square", minimum=0.0, below=1.0, read_if=_ADAM
  ),
  "adam_eps": Field(
    1e-8, "added to Adam's denominator", above=0.0, read_if=_ADAM
  ),
  "weight_decay": Field(
    0.0,
    "coupled L2 on all parameters, added to the (SAM) gradient, outside the"
    " ascent; decoupled for adamw",
    minimum=0.0,
  ),
  "weight_decay_form": Field(
    "coupled",
    "'coupled': as `weight_decay` says; 'sst2_example': added to the update"
    " instead, so that weights grow, whatever the learning rate, as in the"
    " example of Flax on which the paper builds",
    choices=("coupled", "sst2_example"),
    read_if={
      "dataset": kinds.SENTENCE_DATASETS,
      "base": ("sgd",),
      "weight_decay": Positive(),
    },
  ),
  "gradient_clip": Field(
    0.0,
    "largest global norm of the update gradient, before weight decay; 0: off",
    minimum=0.0,
  ),
  "batch_size": Field(128, "examples in a step, over all devices", minimum=1),
  "gradient_accumulation": Field(
    1,
    "parts into which each device cuts its part of the batch, one after the"
    " other, to save memory. All of them share SAM's perturbation, that of"
    " their mean gradient; `microbatch_size` gives each its own. BatchNorm and"
    " dropout see the parts",
    minimum=1,
  ),
  "num_epochs": Field(
    100,
    "passes over the training set (of a game, over rollouts); each drops its"
    " last partial batch",
    minimum=1,
    read_if={"num_train_steps": (-1,)},
  ),
  "num_train_steps": Field(
    -1,
    "length in steps; -1: from `num_epochs`",
    minimum=-1,
  ),
  "seed": Field(
    0,
    "seed of weights, data order, augmentation, masks and label noise",
    minimum=0,
  ),
}
