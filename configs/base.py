"""Every config field: its default, unit, meaning and allowed values.

A workload's config file starts from `get_config()` and overrides what differs.
`check` refuses a config with a wrong value, or with values that contradict
each other, and is driven by the same table. This module imports neither JAX
nor TensorFlow, so a wrong value is refused within a second.
"""

from collections.abc import Container, Iterable, Mapping
import dataclasses
import difflib
import itertools
import math
import textwrap
from typing import Any

import ml_collections

IMAGE_DATASETS = (
  "digits",
  "mnist",
  "fashion_mnist",
  "cifar10",
  "cifar100",
  "svhn_cropped",
  "imagenet2012",
)
REGRESSION_DATASETS = (
  "teacher_student",
  "regression_1d",
  "matrix_factorization",
  "trigonometric",
  "ball",
)
# Two classes, told by the sign of one output; generated.
BINARY_DATASETS = ("signal_noise", "xor")
# Generated, with as many inputs and examples as the config says.
SIZED_DATASETS = (*BINARY_DATASETS, "ball")
# Sentences whose every word has a tag, and those that have a class.
TAGGED_DATASETS = ("hidden_markov", "grc_perseus")
SENTENCE_DATASETS = ("lexicon", "sst2")
TEXT_DATASETS = TAGGED_DATASETS + SENTENCE_DATASETS
# Graphs with a label for each of several binary tasks.
GRAPH_DATASETS = ("motifs", "ogbg_molpcba")
# Played, not read: what is learned from is made by what learns.
GAMES = ("breakout",)
# Their examples are of several sizes, and padded.
PADDED_DATASETS = TEXT_DATASETS + GRAPH_DATASETS
STREAMED_DATASETS = ("imagenet2012",)
RESNETS = ("resnet18", "resnet50")
# On CPU, XLA runs them slowly in loops and under vmap.
CONVOLUTIONAL_MODELS = (*RESNETS, "vgg11", "actor_critic")
IMAGE_MODELS = (*RESNETS, "vgg11", "vit")
TEXT_MODELS = ("transformer", "lstm")
GRAPH_MODELS = ("gcn",)
GAME_MODELS = ("actor_critic",)


class UserError(Exception):
  """Wrong input; the message is one line for the user."""


class ConfigError(UserError):
  """A wrong value in a config."""


class _Positive:
  """The numbers above 0."""

  def __contains__(self, value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


class _NotEmpty:
  """The tuples with entries."""

  def __contains__(self, value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 0


# Of the entries of tuples.
_PLURAL = {int: "integers", float: "finite numbers"}
_EXAMPLE = {int: ', such as "(300,100)"', float: ', such as "(0.25,0.5)"'}


@dataclasses.dataclass(frozen=True)
class Field:
  """One config field.

  Attributes:
    default: value in `get_config()`; its type is the type of the field.
    doc: meaning and unit.
    choices: the allowed values, if they can be listed.
    minimum: smallest allowed value (of each entry, for a tuple).
    maximum: largest allowed value.
    above: the value must be larger than this (an open lower end).
    below: the value must be smaller than this (an open upper end).
    read_if: field -> values: the field is read only if each of these fields
      has one of these values. A field that is not read does not enter the
      name of a run, and setting it by flag prints a warning.
    cadence: whether the field leaves the trajectory of the run as it is. Such
      a field may differ when a run is resumed.
    each: the field of which this one, a tuple, lists different values.
    entries: kind of the entries of a tuple, int or float.
  """

  default: Any
  doc: str
  choices: tuple[str, ...] = ()
  minimum: float | None = None
  maximum: float | None = None
  above: float | None = None
  below: float | None = None
  read_if: Mapping[str, Container[Any]] = dataclasses.field(
    default_factory=dict
  )
  cadence: bool = False
  each: str = ""
  entries: type = int

  @property
  def kind(self) -> type:
    return type(self.default)

  def allowed(self) -> str:
    """Returns what the field accepts, in words."""
    if self.each:
      return f"a tuple of different values, each {FIELDS[self.each].allowed()}"
    if self.choices:
      return "one of " + ", ".join(repr(c) for c in self.choices)
    noun = {
      int: "an integer",
      float: "a finite number",
      bool: "True or False",
      str: "a text",
      tuple: f"a tuple of {_PLURAL[self.entries]}",
    }[self.kind]
    ends = [
      (self.minimum, ">="),
      (self.above, ">"),
      (self.maximum, "<="),
      (self.below, "<"),
    ]
    bounds = [f"{sign} {end:.10g}" for end, sign in ends if end is not None]
    example = _EXAMPLE[self.entries] if self.kind is tuple else ""
    return f"{noun} {' and '.join(bounds)}".strip() + example

  def accepts(self, value: Any) -> bool:
    """Whether `value` has the right type and lies in the allowed range."""
    if self.each:
      return (
        isinstance(value, (tuple, list))
        and all(FIELDS[self.each].accepts(v) for v in value)
        and len(set(value)) == len(value)
      )
    if self.kind is tuple:
      return isinstance(value, (tuple, list)) and all(
        self._is_number(v, self.entries) for v in value
      )
    if self.kind in (int, float):
      return self._is_number(value, self.kind)
    if self.choices:
      return value in self.choices
    return isinstance(value, self.kind)

  def _is_number(self, value: Any, kind: type) -> bool:
    is_float = kind is float and isinstance(value, float)
    if not (_is_int(value) or is_float):
      return False
    return math.isfinite(value) and self._in_range(value)

  def _in_range(self, value: float) -> bool:
    return not (
      (self.minimum is not None and value < self.minimum)
      or (self.maximum is not None and value > self.maximum)
      or (self.above is not None and value <= self.above)
      or (self.below is not None and value >= self.below)
    )


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


_SAM = {"optimizer": ("sam",)}
_ADAM = {"base": ("adam", "adamw")}
_TEACHER = {"dataset": ("teacher_student",)}
_SIGNAL = {"dataset": ("signal_noise",)}
_STAGED: Mapping[str, Container[Any]] = {"stage_starts": _NotEmpty()}
_TWO_LAYER = {"model": ("two_layer",)}
_TWO_LAYER_CONV = {"model": ("two_layer_conv",)}
_ATTENTION = {"model": ("vit", "transformer")}
_TEXT = {"dataset": TEXT_DATASETS}
_GRAPHS = {"dataset": GRAPH_DATASETS}
_GCN = {"model": GRAPH_MODELS}
_GAMES = {"dataset": GAMES}
_PPO = {"loss": ("ppo",)}
_PRUNED = {"sparsity": _Positive()}
# What a sweep can list values of, in the order of its product.
SWEPT = (
  "label_noise",
  "sparsity",
  "learning_rate",
  "weight_decay",
  "rho",
  "seed",
)
# Steps are counted in int32.
MAX_STEPS = 2**31 - 1

FIELDS: dict[str, Field] = {
  # --- data -----------------------------------------------------------------
  "dataset": Field(
    "digits",
    "data set; 'digits' comes with scikit-learn, those without class labels"
    " ('teacher_student', 'regression_1d', 'matrix_factorization',"
    " 'trigonometric', 'ball'), those with two ('signal_noise', 'xor'), the"
    " texts 'hidden_markov' and 'lexicon', and the graphs 'motifs' are"
    " generated, the others are read through TFDS ('grc_perseus' is a treebank"
    " of Ancient Greek, 'sst2' the film reviews of GLUE, 'ogbg_molpcba'"
    " molecules), and 'breakout' is a game that is played",
    choices=(
      *IMAGE_DATASETS,
      *REGRESSION_DATASETS,
      *BINARY_DATASETS,
      *TEXT_DATASETS,
      *GRAPH_DATASETS,
      *GAMES,
    ),
  ),
  "validation_fraction": Field(
    0.0,
    "fraction of the training examples held out (with clean labels) to choose"
    " hyper-parameters such as rho; 0 trains on all of them, as the paper does",
    minimum=0.0,
    below=1.0,
  ),
  "train_fraction": Field(
    1.0,
    "fraction of the training examples that are used, those that are held out"
    " included; the others are left out",
    above=0.0,
    maximum=1.0,
  ),
  "data_seed": Field(
    0,
    "seed of the split into training, validation and (digits) test examples,"
    " and of generated data; -1 follows `seed`, so every seed has its own",
    minimum=-1,
  ),
  "augment": Field(
    False,
    "random crops (zero padding), and flips where the data set has mirror"
    " symmetry; random-resized crop and flip for ImageNet",
  ),
  "label_noise": Field(
    0.0,
    "fraction of the training labels that are replaced by wrong ones",
    minimum=0.0,
    maximum=1.0,
  ),
  "label_noise_type": Field(
    "symmetric",
    "'symmetric': uniform over the other classes; 'pair': the next class."
    " The paper does not name its type",
    choices=("symmetric", "pair"),
    read_if={"label_noise": _Positive()},
  ),
  "vocabulary_min_count": Field(
    1,
    "how often a word must occur in the training set to be in the vocabulary",
    minimum=1,
    read_if=_TEXT,
  ),
  "word_dropout": Field(
    0.0,
    "rate at which words of a training sentence are replaced by the unknown"
    " word",
    minimum=0.0,
    below=1.0,
    read_if=_TEXT,
  ),
  "max_nodes": Field(
    0,
    "nodes to which every graph is padded; a larger one is an error. 0: those"
    " of the largest graph",
    minimum=0,
    read_if=_GRAPHS,
  ),
  "max_edges": Field(
    0,
    "edges to which every graph is padded, each counted once; 0: those of the"
    " graph that has most",
    minimum=0,
    read_if=_GRAPHS,
  ),
  "bucket_batches": Field(
    0,
    "sorts the examples of so many batches in a row by size, cuts them into"
    " batches, shuffles these, and trims each to its largest example; 1 only"
    " trims the batches as they were drawn, 0 pads them to the largest example"
    " of the data set. Trimming changes what dropout draws, but nothing else",
    minimum=0,
    read_if={"dataset": PADDED_DATASETS},
  ),
  "teacher_num_neurons": Field(
    200, "hidden neurons of the random teacher", minimum=1, read_if=_TEACHER
  ),
  "teacher_scale": Field(
    1.0,
    "standard deviation of the teacher's output, or of the product with the"
    " matrix to factorize, over the training inputs; the paper states the"
    " weights of neither",
    above=0.0,
    read_if={"dataset": ("teacher_student", "matrix_factorization")},
  ),
  "target_noise": Field(
    1.0,
    "standard deviation of the Gaussian noise on the teacher's targets",
    minimum=0.0,
    read_if=_TEACHER,
  ),
  "input_dim": Field(
    1000,
    "dimension d of an input, or of a patch of it",
    minimum=1,
    read_if={"dataset": SIZED_DATASETS},
  ),
  "num_train": Field(
    20,
    "training examples that are generated",
    minimum=1,
    read_if={"dataset": SIZED_DATASETS},
  ),
  "num_patches": Field(
    2,
    "patches P of an input: one of signal, all others the same noise",
    minimum=2,
    read_if=_SIGNAL,
  ),
  "signal_norm": Field(
    5.0, "norm ||mu|| of the signal", minimum=0.0, read_if=_SIGNAL
  ),
  "noise_scale": Field(
    1.0,
    "standard deviation sigma_p of each coordinate of the noise",
    minimum=0.0,
    read_if=_SIGNAL,
  ),
  "step_label_noise": Field(
    0.0,
    "label noise drawn anew at every step: the standard deviation of what is"
    " added to the targets of a squared error, or the probability that a class"
    " is flipped, with 'logistic'. The logged training metrics are of the noisy"
    " targets",
    minimum=0.0,
    read_if={"dataset": REGRESSION_DATASETS + BINARY_DATASETS},
  ),
  "num_agents": Field(
    8, "games that are played at once", minimum=1, read_if=_GAMES
  ),
  "actor_steps": Field(
    128, "actions in each of them in a rollout", minimum=1, read_if=_GAMES
  ),
  "sticky_actions": Field(
    0.25,
    "probability that a frame repeats the action before, as in Breakout-v5; 0"
    " in NoFrameskip-v4, with which the example of Flax trains",
    minimum=0.0,
    below=1.0,
    read_if=_GAMES,
  ),
  "cache": Field(
    False,
    "keep the undecoded records of a streamed data set in host memory",
    read_if={"dataset": STREAMED_DATASETS},
    cadence=True,
  ),
  # --- model ----------------------------------------------------------------
  "model": Field(
    "mlp",
    "architecture; 'two_layer' is W2 act(W1 x + b1), 'two_layer_conv' a sum"
    " over filters and patches with fixed signs, without bias, 'transformer' an"
    " encoder that tags, 'lstm' a bidirectional one that classifies, 'gcn' a"
    " graph convolutional network, 'actor_critic' plays games",
    choices=(
      "mlp",
      "two_layer",
      "two_layer_conv",
      *IMAGE_MODELS,
      *TEXT_MODELS,
      *GRAPH_MODELS,
      *GAME_MODELS,
    ),
  ),
  "num_neurons": Field(
    (300, 100),
    "width of each hidden layer: any number of them in an MLP, where () is a"
    " linear model; one in 'two_layer'",
    minimum=1,
    read_if={"model": ("mlp", "two_layer")},
  ),
  "bias_layers": Field(
    "all",
    "layers of an MLP that have a bias",
    choices=("all", "first"),
    read_if={"model": ("mlp",)},
  ),
  "activation": Field(
    "relu",
    "of the hidden layer",
    choices=("relu", "linear", "softplus"),
    read_if=_TWO_LAYER,
  ),
  "use_bias": Field(
    True,
    "whether the first layer has a bias; the second has none",
    read_if=_TWO_LAYER,
  ),
  "initialization": Field(
    "default",
    "'default': Flax's; 'one_dimensional': W1 is +-2.5, b1 2.5 N(0,1), W2"
    " 4 N(0,1); 'lazy': W1 and b1 have variance 1/neurons, W2 has 1",
    choices=("default", "one_dimensional", "lazy"),
    read_if=_TWO_LAYER,
  ),
  "first_layer_scale": Field(
    1.0,
    "factor on the initial W1 and b1",
    above=0.0,
    read_if=_TWO_LAYER,
  ),
  "first_layer_norm": Field(
    0.0,
    "joint norm to which W1 and b1 are scaled after every step; 0: they are"
    " free",
    minimum=0.0,
    read_if=_TWO_LAYER,
  ),
  "normalization": Field(
    "none",
    "of the hidden layer: 'sim_bn' divides each neuron by its root mean square"
    " over the whole training set and scales it by gamma; 'sim_ln' divides the"
    " hidden layer by its norm",
    choices=("none", "sim_bn", "sim_ln"),
    read_if=_TWO_LAYER,
  ),
  "trained_layers": Field(
    "all",
    "'first': W2 keeps its initial values and is no parameter",
    choices=("all", "first"),
    read_if=_TWO_LAYER,
  ),
  "num_filters": Field(
    64,
    "filters of the first stage of a ResNet or VGG; the later stages have 2, 4,"
    " 8 (and again 8) times as many; in 'two_layer_conv', of each class; in"
    " 'actor_critic', of the first layer, and the next have 2, 2, 16 times as"
    " many",
    minimum=1,
    read_if={"model": (*CONVOLUTIONAL_MODELS, "two_layer_conv")},
  ),
  "averaged_over": Field(
    "filters",
    "what the sum over filters and patches is divided by the number of:"
    " 'filters', as in the paper, or 'patches', as in the code it builds on",
    choices=("filters", "patches"),
    read_if=_TWO_LAYER_CONV,
  ),
  "filter_initialization": Field(
    "uniform",
    "of the filters: 'uniform' is U(-1, 1) / sqrt(d), PyTorch's default;"
    " 'normal' is init_scale N(0, 1)",
    choices=("uniform", "normal"),
    read_if=_TWO_LAYER_CONV,
  ),
  "init_scale": Field(
    0.01,
    "standard deviation of a filter's initial weights",
    above=0.0,
    read_if={**_TWO_LAYER_CONV, "filter_initialization": ("normal",)},
  ),
  "blocks_per_stage": Field(
    0,
    "residual blocks in each stage, to change the depth; 0: the standard ones"
    " (2, 2, 2, 2 of ResNet-18; 3, 4, 6, 3 of ResNet-50)",
    minimum=0,
    read_if={"model": RESNETS},
  ),
  "hidden_size": Field(
    128,
    "width of a token, of an LSTM's state in each direction, or of a node",
    minimum=1,
    read_if={"model": ("vit", "transformer", "lstm", *GRAPH_MODELS)},
  ),
  "head_size": Field(
    32,
    "width of an attention head; there are hidden_size / head_size, but at"
    " least one",
    minimum=1,
    read_if=_ATTENTION,
  ),
  "num_layers": Field(6, "transformer blocks", minimum=1, read_if=_ATTENTION),
  "message_passing_steps": Field(
    5, "graph convolutions, one after the other", minimum=1, read_if=_GCN
  ),
  "num_mlp_layers": Field(
    2,
    "layers of the MLP in front of each graph convolution",
    minimum=1,
    read_if=_GCN,
  ),
  "patch_size": Field(
    4,
    "side of the square that makes a token, in pixels",
    minimum=1,
    read_if={"model": ("vit",)},
  ),
  "dropout": Field(
    0.0,
    "rate of dropout in training",
    minimum=0.0,
    below=1.0,
    read_if={"model": TEXT_MODELS + GRAPH_MODELS},
  ),
  "sync_batch_norm": Field(
    False,
    "take BatchNorm statistics over all devices instead of per device",
    read_if={"model": RESNETS},
  ),
  "dtype": Field(
    "float32",
    "arithmetic of the model; 'bfloat16' keeps float32 parameters, 'float64'"
    " computes and stores everything in float64",
    choices=("float32", "bfloat16", "float64"),
  ),
  "init_from": Field(
    "",
    "run folder whose newest checkpoint gives the initial weights (and"
    " BatchNorm statistics); '' initializes from the seed",
  ),
  # --- loss -----------------------------------------------------------------
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
    read_if={"loss": ("squared_error",), "dataset": IMAGE_DATASETS},
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
  # --- optimization ---------------------------------------------------------
  "optimizer": Field(
    "sam",
    "'sam' wraps `base_optimizer`; the others train without perturbation",
    choices=("sgd", "sam", "adam", "adamw"),
  ),
  "base_optimizer": Field(
    "sgd",
    "what SAM's gradient is handed to",
    choices=("sgd", "adam", "adamw"),
    read_if=_SAM,
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
    read_if=_STAGED,
  ),
  "warmup_steps": Field(
    0,
    "steps of linear warm-up from 0",
    minimum=0,
    maximum=MAX_STEPS,
    read_if={"lr_scheduler": ("cosine", "inverse_sqrt")},
  ),
  "momentum": Field(
    0.9,
    "heavy-ball momentum of SGD (not Nesterov)",
    minimum=0.0,
    below=1.0,
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
      "dataset": SENTENCE_DATASETS,
      "base": ("sgd",),
      "weight_decay": _Positive(),
    },
  ),
  "gradient_clip": Field(
    0.0,
    "largest global norm of the update gradient, before weight decay; 0: off",
    minimum=0.0,
  ),
  "batch_size": Field(128, "examples in a step, over all devices", minimum=1),
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
    maximum=MAX_STEPS,
  ),
  "seed": Field(
    0,
    "seed of weights, data order, augmentation, masks and label noise",
    minimum=0,
    maximum=2**31 - 1,
  ),
  # --- SAM ------------------------------------------------------------------
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
    read_if={**_SAM, **_STAGED},
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
    read_if=_SAM,
  ),
  "microbatch_size": Field(
    0,
    "examples that share a perturbation (m-sharpness), at most the per-device"
    " batch and a divisor of it; 0: the per-device batch, as published",
    minimum=0,
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
  # --- pruning at initialization ---------------------------------------------
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
  # --- several runs in one program --------------------------------------------
  **{
    f"sweep.{name}": Field(
      (),
      f"values of `{name}`, such as {example}: the product over all swept"
      " fields trains in one program. Runs of one seed share initial weights,"
      " split and data order",
      each=name,
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
  # --- cadence: nothing below changes what is learned -------------------------
  "log_every_steps": Field(
    100, "steps between two lines of training metrics", minimum=1, cadence=True
  ),
  "eval_every_epochs": Field(
    1,
    "epochs between two evaluations; the end of training is always evaluated",
    minimum=1,
    cadence=True,
  ),
  "checkpoint_at_evals": Field(
    True,
    "save a checkpoint at every evaluation; the end of training always does",
    cadence=True,
  ),
  "checkpoint_every_steps": Field(
    0,
    "steps between further checkpoints; 0: no further ones",
    minimum=0,
    cadence=True,
  ),
  "snapshot_every_epochs": Field(
    0,
    "epochs between two snapshots of the weights, all of which are kept, in"
    " snapshots/; also the initial and final ones; 0: none",
    minimum=0,
    cadence=True,
  ),
  "sharpness_every_epochs": Field(
    0,
    "epochs between two measurements of the sharpness of the training loss:"
    " lambda_max, trace, m-sharpness; also at the end; 0: never",
    minimum=0,
    cadence=True,
  ),
  "sharpness_num_examples": Field(
    0,
    "random training examples over which it is measured; 0: all",
    minimum=0,
    cadence=True,
  ),
  "steps_per_eval": Field(
    -1,
    "evaluate only this many batches, for debugging (recorded as partial);"
    " -1: every example once",
    minimum=-1,
    cadence=True,
  ),
  "eval_games": Field(
    16,
    "games in an evaluation, each played once, by actions drawn as in training",
    minimum=2,
    cadence=True,
    read_if=_GAMES,
  ),
  "eval_batch_size": Field(
    512, "examples evaluated at once, over all devices", minimum=1, cadence=True
  ),
  "steps_per_call": Field(
    0,
    "training steps in one call to the device; 0 chooses: 1 for streamed data"
    " and for convolutions on CPU (slow inside XLA's CPU loops), else 32",
    minimum=0,
    maximum=10_000,
    cadence=True,
  ),
}


class _Config(ml_collections.ConfigDict):
  """Refuses a wrong value, or an unknown field, where it is set.

  `config["sweep.rho"]` reads as `config.sweep.rho`.
  """

  def __setitem__(self, name: str, value: Any) -> None:
    if name != "sweep":
      _check_field(name, value)
    elif not isinstance(value, Mapping | ml_collections.ConfigDict):
      raise ConfigError(
        f"config.sweep={value!r}: set its fields, as in config.sweep.rho"
      )
    super().__setitem__(name, value)

  def __getitem__(self, name: str) -> Any:
    group, _, rest = name.partition(".")
    value = super().__getitem__(group)
    return value[rest] if rest else value


class _Sweep(ml_collections.ConfigDict):
  """The values of the swept fields; refuses as `_Config` does."""

  def __setitem__(self, name: str, value: Any) -> None:
    _check_field(f"sweep.{name}", value)
    super().__setitem__(name, value)


def get_config() -> ml_collections.ConfigDict:
  """Returns a config that has every field at its default."""
  flat = {n: f.default for n, f in FIELDS.items() if not f.each}
  return _Config(flat | {"sweep": _Sweep({name: () for name in SWEPT})})


def swept(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
  """Returns the values of every swept field; of a run alone, nothing."""
  sweep = config.get("sweep", {})
  values = {name: tuple(sweep.get(name, ())) for name in SWEPT}
  return {name: v for name, v in values.items() if v}


def runs(config: ml_collections.ConfigDict) -> list[ml_collections.ConfigDict]:
  """Returns the config of every run of a sweep; of a run alone, its own.

  They are the product of the swept values, the last field of `SWEPT` fastest.
  """
  values = swept(config)
  if not values:
    return [config]
  # Filled in plain dicts, since a config checks every value that is set.
  flat = dict(config.items())
  sweep = _Sweep({name: () for name in SWEPT})
  return [
    ml_collections.ConfigDict(
      flat | dict(zip(values, chosen, strict=True)) | {"sweep": sweep}
    )
    for chosen in itertools.product(*values.values())
  ]


def base_optimizer(config: Mapping[str, Any]) -> str:
  """Returns what updates the weights: 'sgd', 'adam' or 'adamw'."""
  if config["optimizer"] == "sam":
    return config["base_optimizer"]
  return config["optimizer"]


def is_read(name: str, config: Mapping[str, Any]) -> bool:
  """Whether a run with this config reads the field `name` at all."""
  lists = swept(config)
  field = FIELDS[name]
  if name in lists or (field.each and field.each not in lists):
    return False

  def can_be(other: str) -> Iterable[Any]:
    if other == "base":
      return (base_optimizer(config),)
    return (
      (bool(lists),) if other == "sweep" else lists.get(other, (config[other],))
    )

  conditions = (FIELDS[field.each] if field.each else field).read_if
  return all(
    any(value in values for value in can_be(other))
    for other, values in conditions.items()
  )


def unknown_field(name: str) -> str:
  """Returns the error line for a field that does not exist."""
  close = difflib.get_close_matches(name, FIELDS, n=1)
  hint = f"did you mean {close[0]!r}?" if close else "see configs/base.py"
  return f"config.{name}: there is no such field; {hint}"


def _explain(name: str, value: Any) -> str:
  return f"config.{name}={value!r}: must be {FIELDS[name].allowed()}"


def wrong_value(name: str, value: str) -> str:
  """Returns the error line for a flag whose text has the wrong kind."""
  return _explain(name, value) if name in FIELDS else unknown_field(name)


def describe(config: Mapping[str, Any]) -> str:
  """Returns every field with its value, its meaning and what it accepts."""
  lines = []
  for name, field in FIELDS.items():
    lines.append(f"  --config.{name}={config[name]!r}")
    text = f"{field.doc} ({field.allowed()})"
    lines += textwrap.wrap(
      text, 78, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
  return "\n".join(lines)


def _check_field(name: str, value: Any) -> None:
  if name not in FIELDS:
    raise ConfigError(unknown_field(name))
  if not FIELDS[name].accepts(value):
    raise ConfigError(_explain(name, value))


def check(config: ml_collections.ConfigDict) -> None:
  """Raises `ConfigError` if a value is wrong or two contradict each other."""
  for name in ("sweep", *(n for n, f in FIELDS.items() if not f.each)):
    if name not in config:
      raise ConfigError(f"config.{name}: missing; start from base.get_config()")
  for name in config:
    if name != "sweep":
      _check_field(name, config[name])
  for name, values in config.sweep.items():
    _check_field(f"sweep.{name}", values)
  lists = swept(config)
  # Every swept value once; no contradiction is between two swept fields.
  for i in range(max(map(len, lists.values()), default=1)):
    run = config.copy_and_resolve_references()
    for name, values in lists.items():
      run[name] = values[i % len(values)]
    for wrong, line in contradictions(run):
      if wrong:
        raise ConfigError(line)


def _models_for(dataset: str) -> tuple[str, ...]:
  """Returns the models that fit a data set."""
  if dataset in TAGGED_DATASETS:
    return ("transformer",)
  if dataset in SENTENCE_DATASETS:
    return ("lstm",)
  if dataset in GRAPH_DATASETS:
    return GRAPH_MODELS
  if dataset in GAMES:
    return GAME_MODELS
  general: tuple[str, ...] = ("mlp", "two_layer")
  if dataset == "signal_noise":  # Its inputs are patches.
    return (*general, "two_layer_conv")
  return general + (IMAGE_MODELS if dataset in IMAGE_DATASETS else ())


def _losses_for(dataset: str) -> tuple[str, ...]:
  """Returns the losses that fit the targets of a data set."""
  if dataset in REGRESSION_DATASETS:
    return ("squared_error",)
  if dataset in GRAPH_DATASETS:
    return ("binary_cross_entropy",)
  if dataset in GAMES:
    return ("ppo",)
  if dataset in BINARY_DATASETS:
    return ("logistic", "squared_error")
  return ("cross_entropy", "squared_error")


def contradictions(c: ml_collections.ConfigDict) -> Iterable[tuple[bool, str]]:
  """Yields (whether the config has it, the error line)."""
  sam = c.optimizer == "sam"
  regression = c.dataset in REGRESSION_DATASETS
  game = c.dataset in GAMES
  binary = c.dataset in BINARY_DATASETS
  yield (
    sam and c.rho <= 0 and not c.sweep.rho,
    f"config.rho={c.rho}: must be > 0 with config.optimizer='sam'"
    " (use config.optimizer='sgd' for no perturbation)",
  )
  yield (
    c.sparsity > 0 and c.pruner == "none",
    f"config.sparsity={c.sparsity}: needs config.pruner, one of 'random',"
    " 'magnitude', 'snip'",
  )
  yield (
    sam and c.sam_end <= c.sam_begin,
    f"config.sam_end={c.sam_end}: must be > config.sam_begin={c.sam_begin}",
  )
  yield (
    sam and c.microbatch_size > 0 and c.sync_perturbation,
    f"config.microbatch_size={c.microbatch_size}: excludes"
    " config.sync_perturbation=True, which perturbs with one gradient for all",
  )
  yield (
    sam and c.microbatch_size > c.batch_size,
    f"config.microbatch_size={c.microbatch_size}: must be <="
    f" config.batch_size={c.batch_size}",
  )
  yield (
    sam and c.ascent_steps > 1 and c.perturbation == "unnormalized",
    f"config.ascent_steps={c.ascent_steps}: must be 1 with"
    " config.perturbation='unnormalized', which has no ball to project to",
  )
  starts = tuple(c.stage_starts)
  yield (
    list(starts) != sorted(set(starts)),
    f"config.stage_starts={starts!r}: must ascend",
  )
  for name, is_read_here in (
    ("stage_lr_factors", True),
    ("stage_rho_factors", sam),
  ):
    factors = tuple(c[name])
    yield (
      is_read_here and len(factors) != len(starts),
      f"config.{name}={factors!r}: must have an entry for each of"
      f" config.stage_starts={starts!r}",
    )
  yield (
    c.num_train_steps == 0,
    "config.num_train_steps=0: must be an integer >= 1, or -1",
  )
  yield (
    c.steps_per_eval == 0,
    "config.steps_per_eval=0: must be an integer >= 1, or -1 for all",
  )
  yield (
    c.lr_scheduler == "inverse_sqrt" and c.warmup_steps == 0,
    "config.warmup_steps=0: must be >= 1 with"
    " config.lr_scheduler='inverse_sqrt'",
  )
  fitting = _losses_for(c.dataset)
  yield (
    c.loss not in fitting,
    f"config.loss={c.loss!r}: must be {' or '.join(map(repr, fitting))} with"
    f" config.dataset={c.dataset!r}",
  )
  yield (
    (regression or game) and c.label_noise > 0,
    f"config.label_noise={c.label_noise}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has no class labels",
  )
  yield (
    (regression or game) and c.label_smoothing > 0,
    f"config.label_smoothing={c.label_smoothing}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has no class labels",
  )
  no_images = c.dataset not in IMAGE_DATASETS
  yield (
    no_images and c.augment,
    f"config.augment=True: must be False with config.dataset={c.dataset!r},"
    " which has no images",
  )
  fitting = _models_for(c.dataset)
  yield (
    c.model not in fitting,
    f"config.model={c.model!r}: must be {' or '.join(map(repr, fitting))} with"
    f" config.dataset={c.dataset!r}",
  )
  yield (
    c.model == "two_layer" and len(c.num_neurons) != 1,
    f"config.num_neurons={tuple(c.num_neurons)!r}: must have one entry, such as"
    " \"(100,)\", with config.model='two_layer', which has one hidden layer",
  )
  yield (
    binary and c.loss == "squared_error" and c.label_smoothing > 0,
    f"config.label_smoothing={c.label_smoothing}: must be 0 with"
    f" config.loss='squared_error' and config.dataset={c.dataset!r}",
  )
  yield (
    c.loss == "logistic" and c.label_smoothing >= 0.5,
    f"config.label_smoothing={c.label_smoothing}: must be < 0.5 with"
    " config.loss='logistic', where the label is to stay the likelier class",
  )
  yield (
    c.first_layer_norm > 0 and c.model != "two_layer",
    f"config.first_layer_norm={c.first_layer_norm}: must be 0 with"
    f" config.model={c.model!r}; it needs config.model='two_layer'",
  )
  yield (
    c.normalization != "none" and c.model != "two_layer",
    f"config.normalization={c.normalization!r}: must be 'none' with"
    f" config.model={c.model!r}; it needs config.model='two_layer'",
  )
  sim_bn = c.normalization == "sim_bn"
  yield (
    sim_bn and c.init_from != "",
    f"config.init_from={c.init_from!r}: must be '' with"
    " config.normalization='sim_bn', which keeps a run's own training set",
  )
  yield (
    sim_bn and c.dataset in STREAMED_DATASETS,
    "config.normalization='sim_bn': must be another with"
    f" config.dataset={c.dataset!r}, whose training set is streamed",
  )
  yield (
    c.step_label_noise > 0 and not binary and not regression,
    f"config.step_label_noise={c.step_label_noise}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has an output for each class",
  )
  yield (
    c.step_label_noise >= 0.5 and c.loss == "logistic",
    f"config.step_label_noise={c.step_label_noise}: must be < 0.5 with"
    " config.loss='logistic', where it is a probability of flips",
  )
  yield (
    c.model in _ATTENTION["model"]
    and c.hidden_size > c.head_size
    and c.hidden_size % c.head_size > 0,
    f"config.hidden_size={c.hidden_size}: must be a multiple of"
    f" config.head_size={c.head_size}, or smaller",
  )
  yield (
    c.weight_decay_form != "coupled" and c.dataset not in SENTENCE_DATASETS,
    f"config.weight_decay_form={c.weight_decay_form!r}: must be 'coupled' with"
    f" config.dataset={c.dataset!r}",
  )
  yield (
    c.bucket_batches > 0 and c.dataset not in PADDED_DATASETS,
    f"config.bucket_batches={c.bucket_batches}: must be 0 with"
    f" config.dataset={c.dataset!r}, whose examples have one size",
  )
  lazy = c.lazy_alpha > 0
  yield (
    lazy and c.loss != "squared_error",
    f"config.lazy_alpha={c.lazy_alpha}: must be 0 with config.loss={c.loss!r};"
    " lazy training needs config.loss='squared_error'",
  )
  yield (
    lazy and no_images,
    f"config.lazy_alpha={c.lazy_alpha}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has no images",
  )
  yield (
    lazy and c.model in RESNETS,
    f"config.lazy_alpha={c.lazy_alpha}: must be 0 with"
    f" config.model={c.model!r}, whose BatchNorm does not keep the outputs of"
    " the initial weights",
  )
  yield (
    lazy and c.init_from != "",
    f"config.init_from={c.init_from!r}: must be '' with"
    f" config.lazy_alpha={c.lazy_alpha}, which needs the outputs of a run's own"
    " initial weights",
  )
  yield (
    c.dataset in STREAMED_DATASETS and c.validation_fraction > 0,
    f"config.validation_fraction={c.validation_fraction}: must be 0 with"
    f" config.dataset={c.dataset!r}, whose training set is streamed",
  )
  yield (
    c.dataset in STREAMED_DATASETS and c.train_fraction < 1,
    f"config.train_fraction={c.train_fraction}: must be 1 with"
    f" config.dataset={c.dataset!r}, whose training set is streamed",
  )
  yield (
    c.dataset == "ogbg_molpcba" and c.validation_fraction > 0,
    f"config.validation_fraction={c.validation_fraction}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has a validation split of its own",
  )
  yield (
    c.dataset in STREAMED_DATASETS
    and c.sharpness_every_epochs > 0
    and c.sharpness_num_examples == 0,
    f"config.sharpness_num_examples=0: must be >= 1 with"
    f" config.dataset={c.dataset!r}, whose training set is streamed",
  )
  yield (
    game and c.validation_fraction > 0,
    f"config.validation_fraction={c.validation_fraction}: must be 0 with"
    f" config.dataset={c.dataset!r}, which has no examples to hold out",
  )
  yield (
    game and c.sparsity > 0 and c.pruner == "snip",
    f"config.pruner='snip': must be 'random' or 'magnitude' with"
    f" config.dataset={c.dataset!r}, which has no examples before it is played",
  )
  yield (
    game and c.sharpness_every_epochs > 0,
    f"config.sharpness_every_epochs={c.sharpness_every_epochs}: must be 0 with"
    f" config.dataset={c.dataset!r}, whose examples change; sharpness_report.py"
    " measures its runs",
  )
  lists = swept(c)
  unread = next((n for n in lists if not is_read(f"sweep.{n}", c)), "")
  yield (
    bool(unread),
    f"config.sweep.{unread}={lists.get(unread)!r}: must be () with"
    f" config.optimizer={c.optimizer!r}, which does not read it",
  )
  yield (
    c.sweep_mode == "vmap" and c.dataset in (*STREAMED_DATASETS, *GAMES),
    f"config.sweep_mode='vmap': must be 'loop' or 'auto' with"
    f" config.dataset={c.dataset!r}, whose training set is no array",
  )
