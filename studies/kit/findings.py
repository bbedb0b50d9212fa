"""What studies share: conditions, gains, claims and what the paper found."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis import captions
from analysis import statistics
from studies.kit import reference

Record = dict[str, Any]

SIZE = "num_parameters"
# How well the training labels are fit, wrong ones too.
FIT = "final_train_accuracy"
TITLES = {
  "mlp_digits": "MLP on digits",
  "resnet_digits": "ResNet-18 on digits",
  "mlp_teacher_student": "teacher and student",
  "mlp_mnist": "MLP on MNIST",
  "mlp_fashion_mnist": "MLP on Fashion-MNIST",
  "resnet_cifar": "ResNet-18 on CIFAR-10",
  "resnet_imagenet": "ResNet-50 on ImageNet",
  "vgg_cifar": "VGG-11 on CIFAR-10",
  "vit_digits": "ViT on digits",
  "vit_cifar": "ViT on CIFAR-10",
  "transformer_hmm": "Transformer on Markov tags",
  "transformer_pos": "Transformer on part-of-speech tags",
  "lstm_lexicon": "LSTM on lexicon sentiment",
  "lstm_sst2": "LSTM on SST-2",
  "gcn_motifs": "graph network on motifs",
  "gcn_molpcba": "graph network on molpcba",
  "ppo_breakout": "PPO on Breakout",
}
# What `reference` calls the workloads that are the paper's.
_PAPER_NAMES = {
  "mlp_teacher_student": "teacher_student",
  "mlp_mnist": "mnist_mlp",
  "resnet_cifar": "cifar10_resnet18",
  "resnet_imagenet": "imagenet_resnet50",
  "vit_cifar": "cifar10_vit",
  "transformer_pos": "pos_transformer",
  "lstm_sst2": "sst2_lstm",
  "gcn_molpcba": "molpcba_gcn",
  "ppo_breakout": "breakout_ppo",
}
# The figure that has one of them, whatever figure has the others.
_FIGURES = {"vit_cifar": "16c"}
# The paper's workload that is most like it.
_NEAREST = {
  "mlp_digits": "mlp_mnist",
  "mlp_fashion_mnist": "mlp_mnist",
  "resnet_digits": "resnet_cifar",
  "vit_digits": "vit_cifar",
  "transformer_hmm": "transformer_pos",
  "lstm_lexicon": "lstm_sst2",
  "gcn_motifs": "gcn_molpcba",
}
# Transformers for images lack the inductive bias of these convolutions, of the
# same images.
_WITH_BIAS = {"vit_digits": "resnet_digits", "vit_cifar": "resnet_cifar"}
_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}

# "The gain does not grow" where something is missing: its slope is at most this
# share of the slope where that is there, or 0. Seeds cannot tell no growth at
# all from a little. (In the paper's Figures 16a and 7 the share is -0.15.)
NO_GROWTH = 0.5


@dataclasses.dataclass(frozen=True)
class Condition:
  """Runs that differ in size, rho and seed, and in what the study varies.

  Attributes:
    title: the workload and its label noise, in words.
    workload: a file of configs/, without '.py'.
    label_noise: fraction of the training labels that are wrong.
    metric: what the study reports.
    runs: rows of the table of results.
  """

  title: str
  workload: str
  label_noise: float
  metric: str
  runs: pd.DataFrame

  @property
  def base(self) -> str:
    """The base optimizer, as it is written."""
    return _OPTIMIZERS[self.runs["base_optimizer"].iloc[0]]

  def gains(self, metric: str = "") -> pd.DataFrame:
    """Returns the gains at every size, in the study's metric or another."""
    return gains(self.runs, [SIZE], metric or self.metric)


def by_title(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Returns the runs of every workload, by its name in words.

  Those with clipped gradients are a workload of their own; of ViTs all are.
  """
  titled = {}
  groups = results.groupby(["workload", "gradient_clip"], sort=False)
  for (workload, clip), runs in groups:
    is_variant = clip and workload not in _WITH_BIAS
    variant = ", gradients clipped" if is_variant else ""
    titled[TITLES[workload] + variant] = runs
  return titled


def conditions(results: pd.DataFrame, main: float = 0.25) -> list[Condition]:
  """Returns the conditions of a table, of each workload the main one first.

  Args:
    results: the table.
    main: the label noise of the main condition.
  """
  found = []
  for name, runs in by_title(results).items():
    rates = sorted(runs["label_noise"].unique(), key=lambda x: (x != main, x))
    for rate in rates:
      title = name + (f", {noise(rate)}" if any(rates) else "")
      found.append(
        Condition(
          title=title,
          workload=runs["workload"].iloc[0],
          label_noise=rate,
          metric=runs["metric"].iloc[0],
          runs=runs[runs["label_noise"] == rate],
        )
      )
  return found


def cases(results: pd.DataFrame) -> list[tuple[Condition, str]]:
  """Returns every condition with its metric, then with the other epoch's."""
  found = conditions(results)
  return [(c, c.metric) for c in found] + [
    (c, other_epoch(c.metric)) for c in found
  ]


def noise(rate: float) -> str:
  """Returns a label noise in words."""
  return f"{100 * rate:g} % label noise" if rate else "no label noise"


def other_epoch(metric: str) -> str:
  """Returns the metric of the best test epoch for the final one's, or back."""
  when, _, rest = metric.partition("_")
  return {"final": "best_", "best": "final_"}[when] + rest


def choose_by(runs: pd.DataFrame, metric: str) -> str:
  """Returns the metric by which a hyper-parameter is chosen.

  Without a validation split it is the metric itself.
  """
  held_out = (runs["validation_fraction"] > 0).all()
  return statistics.validation_metric(metric) if held_out else metric


def gains(
  runs: pd.DataFrame, group: Sequence[str], metric: str
) -> pd.DataFrame:
  """Returns `statistics.gains` with rho chosen by `choose_by`."""
  chosen_by = choose_by(runs, metric)
  # Few columns, since pandas is slow with many.
  columns = [*group, "seed", "rho", "status", metric, chosen_by]
  return statistics.gains(
    runs[list(dict.fromkeys(columns))], group, metric, chosen_by
  )


def less(gains: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
  """Returns by how much gains exceed others, paired by seed and size."""
  table = gains.merge(others, on=["seed", SIZE], suffixes=("", "_of_other"))
  return table.assign(gain=table["gain"] - table["gain_of_other"])


def positive(
  text: str, metric: str, paper: str, estimate: statistics.Estimate
) -> Record:
  """Returns the record of a claim that a statistic is positive."""
  verdict = statistics.verdict(estimate, above=0)
  return statistics.claim_record(text, metric, paper, estimate, verdict)


def negative(
  text: str, metric: str, paper: str, estimate: statistics.Estimate
) -> Record:
  """Returns the record of a claim that a statistic is negative, or 0."""
  verdict = statistics.verdict(estimate, at_most=0)
  return statistics.claim_record(text, metric, paper, estimate, verdict)


def sgd_fits_less(
  text: str, some: pd.DataFrame, others: pd.DataFrame
) -> Record:
  """Returns the record of the claim that SGD fits training labels less.

  It explains where SAM gains less: SGD has learned fewer wrong labels.

  Args:
    text: the claim, in words.
    some: gains in `FIT` where SGD is said to fit less.
    others: gains in `FIT` of what is compared.
  """
  sides = (gains.assign(gain=gains["base"]) for gains in (some, others))
  more = dataclasses.replace(
    statistics.difference(*sides),
    statistic="difference of SGD's accuracy, paired over seeds",
  )
  return negative(text, FIT, "not reported", more)


def grows(
  title: str, metric: str, paper: str, gains: pd.DataFrame, x: str = SIZE
) -> Record:
  """Returns the record of the claim that the gain grows with `x`."""
  text = f"{title}: the gain grows with the {captions.words(x)}"
  return positive(text, metric, paper, statistics.slope(gains, x))


def claim_growth(results: pd.DataFrame, figure: str) -> list[Record]:
  """Returns the claims that the gain grows with the parameters.

  Of ViTs `claim_no_bias` claims the opposite.
  """
  return [
    grows(c.title, metric, quote_gain(figure, c.workload), c.gains(metric))
    for c, metric in cases(results)
    if c.workload not in _WITH_BIAS
  ]


def claim_no_bias(results: pd.DataFrame) -> list[Record]:
  """Returns the claims that the gain of ViTs does not grow: Figure 5e.

  It is compared with that of ResNets on the same images with the same label
  noise, if the table has them; else it must not grow at all.
  """
  records = []
  found = cases(results)
  for c, metric in found:
    if c.workload not in _WITH_BIAS:
      continue
    with_bias = _WITH_BIAS[c.workload], c.label_noise, metric
    text = f"{c.title}: without inductive bias the gain does not grow"
    having = None
    for other, its_metric in found:
      if (other.workload, other.label_noise, its_metric) == with_bias:
        text += f" as that of {TITLES[other.workload]}"
        having = other.gains(metric)
    paper = quote_gain("7", c.workload)
    records.append(does_not_grow(text, metric, paper, c.gains(metric), having))
  return records


def does_not_grow(
  text: str,
  metric: str,
  paper: str,
  without: pd.DataFrame,
  having: pd.DataFrame | None,
) -> Record:
  """Returns the record of the claim that the gain does not grow.

  Args:
    text: the claim, in words.
    metric: of the gains.
    paper: what the paper found.
    without: the gains that do not grow, as is claimed.
    having: those with which they are compared; see `NO_GROWTH`. None: they must
      not grow at all.
  """
  estimate = statistics.slope(without, SIZE)
  margin = 0.0
  if having is not None:
    margin = NO_GROWTH * max(0.0, statistics.slope(having, SIZE).value)
  verdict = statistics.verdict(estimate, at_most=margin)
  statistic = f"{estimate.statistic}; none if at most {margin:.2g}"
  estimate = dataclasses.replace(estimate, statistic=statistic)
  return statistics.claim_record(text, metric, paper, estimate, verdict)


def is_papers(workload: str) -> bool:
  """Whether a workload is one of the paper's."""
  return workload in _PAPER_NAMES


def nearest(workload: str) -> str:
  """Returns the paper's workload that is most like this one, or this one."""
  return _NEAREST.get(workload, workload)


def paper_gain(
  figure: str, workload: str, rate: float | None = None
) -> pd.DataFrame:
  """Returns the paper's gain in one of its workloads.

  Args:
    figure: number of the figure.
    workload: a file of configs/.
    rate: the label noise, in a figure that has several.
  """
  figure = _FIGURES.get(workload, figure)
  table = reference.gain(figure, _PAPER_NAMES[workload])
  return table if rate is None else table[table["label_noise"] == rate]


def quote(
  figure: str, workload: str, table: pd.DataFrame, x: str = SIZE
) -> str:
  """Returns the ends of a curve of the paper, and its slope, in words."""
  table = table.sort_values(x)
  values, sizes = table["mean"].to_numpy(), table[x].to_numpy(float)
  ends = " to ".join(
    f"{values[i]:.3g} at {captions.number(sizes[i])}" for i in (0, -1)
  )
  text = f"Figure {figure}, {TITLES[workload]}: gain {ends}"
  if x != SIZE:
    return f"{text} {captions.words(x)}"
  slope = np.polyfit(np.log2(sizes), values, 1)[0]
  return f"{text} parameters, slope {slope:.2g} for each doubling"


def quote_gain(
  figure: str, workload: str, rate: float | None = None, x: str = SIZE
) -> str:
  """Returns `quote` of the gain in the paper's workload that is most alike."""
  workload = nearest(workload)
  table = paper_gain(figure, workload, rate)
  return quote(_FIGURES.get(workload, figure), workload, table, x)
