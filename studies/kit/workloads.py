"""What studies know of a workload, beside its config."""

from collections.abc import Mapping
import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
  """A file of configs/, as studies speak of it.

  Attributes:
    title: its name in words.
    nearest: the paper's workload that is most like it; '': it is the paper's.
    with_bias: the workload of the same images whose convolutions have the
      inductive bias that this one lacks; '': it does not lack it.
    gain_figure: the paper's figure of its gain by size, where another one has
      that of the other workloads.
    rho_figure: the paper's figure of its best rho.
    pruner_figures: those of its gain when it is pruned, by the pruner.
    image_shape: of its inputs, where a study counts weights without the data.
  """

  title: str
  nearest: str = ""
  with_bias: str = ""
  gain_figure: str = ""
  rho_figure: str = ""
  pruner_figures: Mapping[str, str] = dataclasses.field(default_factory=dict)
  image_shape: tuple[int, ...] = ()


TABLE = {
  "mlp_digits": Workload(
    "MLP on digits", nearest="mlp_mnist", image_shape=(8, 8, 1)
  ),
  "mlp_mnist": Workload(
    "MLP on MNIST",
    rho_figure="8",
    pruner_figures={"random": "14a", "snip": "14b"},
    image_shape=(28, 28, 1),
  ),
  "mlp_fashion_mnist": Workload("MLP on Fashion-MNIST", nearest="mlp_mnist"),
  "resnet_digits": Workload("ResNet-18 on digits", nearest="resnet_cifar"),
  "resnet_cifar": Workload(
    "ResNet-18 on CIFAR-10",
    rho_figure="10",
    pruner_figures={"random": "13a", "snip": "13b"},
    image_shape=(32, 32, 3),
  ),
  "resnet_imagenet": Workload("ResNet-50 on ImageNet", rho_figure="9"),
  "vgg_cifar": Workload("VGG-11 on CIFAR-10"),
  "vit_digits": Workload(
    "ViT on digits", nearest="vit_cifar", with_bias="resnet_digits"
  ),
  "vit_cifar": Workload(
    "ViT on CIFAR-10", with_bias="resnet_cifar", gain_figure="16c"
  ),
  "transformer_hmm": Workload(
    "Transformer on Markov tags", nearest="transformer_pos"
  ),
  "transformer_pos": Workload("Transformer on part-of-speech tags"),
  "lstm_lexicon": Workload("LSTM on lexicon sentiment", nearest="lstm_sst2"),
  "lstm_sst2": Workload("LSTM on SST-2", rho_figure="11"),
  "gcn_motifs": Workload("graph network on motifs", nearest="gcn_molpcba"),
  "gcn_molpcba": Workload("graph network on molpcba"),
  "ppo_breakout": Workload("PPO on Breakout"),
  "mlp_teacher_student": Workload("teacher and student"),
  "matrix_factorization": Workload("matrix factorization"),
}


def is_papers(name: str) -> bool:
  """Whether a workload is one of the paper's."""
  return not TABLE[name].nearest


def nearest(name: str) -> str:
  """Returns the paper's workload that is most like this one, or this one."""
  return TABLE[name].nearest or name
