"""What is minimized."""

from configs import kinds
from configs.fields.field import Field

_PPO = {"loss": ("ppo",)}

FIELDS: dict[str, Field] = {
  "loss": Field(
    "cross_entropy",
    "loss function; 'squared_error' is summed over outputs, without a factor"
    " 1/2, against one-hot targets for class labels; with one output for two"
    " classes, the targets are -1 and +1, and 'logistic' is ln(1 + e^(-y f));"
    " 'binary_cross_entropy' is for labels of several binary tasks, 'ppo' for"
    " rollouts",
    choices=(
      "cross_entropy",
      "squared_error",
      "logistic",
      "binary_cross_entropy",
      "ppo",
    ),
  ),
  "label_smoothing": Field(
    0.0,
    "mass that is moved from the label to the uniform distribution; with"
    " 'logistic', to the other class",
    minimum=0.0,
    below=1.0,
  ),
  "lazy_alpha": Field(
    0.0,
    "the alpha of lazy training: the model's outputs are those minus what they"
    " were at the initial weights, and the one-hot targets are divided by"
    " alpha; 0: neither",
    minimum=0.0,
    read_if={
      "loss": ("squared_error",),
      "dataset": kinds.MAYBE_IMAGE_DATASETS,
    },
  ),
  "epochs_per_rollout": Field(
    3,
    "passes over a rollout, before the next one is played with the new weights",
    minimum=1,
    read_if=_PPO,
  ),
  "discount": Field(
    0.99,
    "factor on a reward for each step that it is away",
    minimum=0.0,
    maximum=1.0,
    read_if=_PPO,
  ),
  "gae_lambda": Field(
    0.95,
    "decay of the weights of later steps in the advantage; 0: one step alone",
    minimum=0.0,
    maximum=1.0,
    read_if=_PPO,
  ),
  "clip_range": Field(
    0.1,
    "how far an action's probability may move, relative to that with which it"
    " was played; it falls with the learning rate",
    above=0.0,
    read_if=_PPO,
  ),
  "value_coefficient": Field(
    0.5, "weight of the squared error of the value", minimum=0.0, read_if=_PPO
  ),
  "entropy_coefficient": Field(
    0.01,
    "weight of the policy's entropy, which is maximized",
    minimum=0.0,
    read_if=_PPO,
  ),
}
