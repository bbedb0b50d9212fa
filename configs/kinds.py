"""The data sets and models that a config can name, by their kinds."""

import re

IMAGE_DATASETS = (
  "digits",
  "mnist",
  "fashion_mnist",
  "cifar10",
  "cifar100",
  "svhn_cropped",
  "imagenet2012",
)
# Arrays of one's own; what they are is known once they are read.
FILE_DATASETS = ("npz",)
MAYBE_IMAGE_DATASETS = IMAGE_DATASETS + FILE_DATASETS
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
ATTENTION_MODELS = ("vit", "transformer")
TEXT_MODELS = ("transformer", "lstm")
GRAPH_MODELS = ("gcn",)
GAME_MODELS = ("actor_critic",)


def losses_for(dataset: str) -> tuple[str, ...]:
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


def models_for(dataset: str) -> tuple[str, ...]:
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
  images = dataset in MAYBE_IMAGE_DATASETS
  return general + (IMAGE_MODELS if images else ())


def is_own_model(name: object) -> bool:
  """Whether it is PATH.py:NAME, a Flax module of one's own."""
  return isinstance(name, str) and bool(
    re.fullmatch(r".+\.py:[^\W\d]\w*", name)
  )


class OwnModels:
  """The models that are files of one's own."""

  def __contains__(self, name: object) -> bool:
    return is_own_model(name)
