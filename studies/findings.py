"""What studies share: conditions, gains, claims and what the paper found."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from studies import claims
from studies import labels
from studies import reference

Record = dict[str, Any]

SIZE = "num_parameters"
# How well the training labels are fit, wrong ones too.
FIT = "final_train_accuracy"
TITLES = {
  "mlp_digits": "MLP on digits",
  "resnet_digits": "ResNet-18 on digits",
  "mlp_teacher_student": "teacher and student",
  "mlp_mnist": "MLP on MNIST",
  "resnet_cifar": "ResNet-18 on CIFAR-10",
  "resnet_imagenet": "ResNet-50 on ImageNet",
  "vgg_cifar": "VGG-11 on CIFAR-10",
}
# What `reference` calls the workloads that are the paper's.
_PAPER_NAMES = {
  "mlp_teacher_student": "teacher_student",
  "mlp_mnist": "mnist_mlp",
  "resnet_cifar": "cifar10_resnet18",
  "resnet_imagenet": "imagenet_resnet50",
}
# The paper's workload that is most like it.
_NEAREST = {"mlp_digits": "mlp_mnist", "resnet_digits": "resnet_cifar"}

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

  def gains(self, metric: str = "") -> pd.DataFrame:
    """Returns the gains at every size, in the study's metric or another."""
    return gains(self.runs, [SIZE], metric or self.metric)


def by_title(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Returns the runs of every workload, by its name in words.

  Those with clipped gradients are a workload of their own.
  """
  return {
    TITLES[workload] + (", gradients clipped" if clip else ""): runs
    for (workload, clip), runs in results.groupby(
      ["workload", "gradient_clip"], sort=False
    )
  }


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
  return claims.validation_metric(metric) if held_out else metric


def gains(
  runs: pd.DataFrame, group: Sequence[str], metric: str
) -> pd.DataFrame:
  """Returns `claims.gains` with rho chosen by `choose_by`."""
  chosen_by = choose_by(runs, metric)
  # Few columns, since pandas is slow with many.
  columns = [*group, "seed", "rho", "status", metric, chosen_by]
  return claims.gains(
    runs[list(dict.fromkeys(columns))], group, metric, chosen_by
  )


def less(gains: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
  """Returns by how much gains exceed others, paired by seed and size."""
  table = gains.merge(others, on=["seed", SIZE], suffixes=("", "_of_other"))
  return table.assign(gain=table["gain"] - table["gain_of_other"])


def positive(
  text: str, metric: str, paper: str, estimate: claims.Estimate
) -> Record:
  """Returns the record of a claim that a statistic is positive."""
  verdict = claims.verdict(estimate, above=0)
  return claims.claim_record(text, metric, paper, estimate, verdict)


def negative(
  text: str, metric: str, paper: str, estimate: claims.Estimate
) -> Record:
  """Returns the record of a claim that a statistic is negative, or 0."""
  verdict = claims.verdict(estimate, at_most=0)
  return claims.claim_record(text, metric, paper, estimate, verdict)


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
    claims.difference(*sides),
    statistic="difference of SGD's accuracy, paired over seeds",
  )
  return negative(text, FIT, "not reported", more)


def grows(
  title: str, metric: str, paper: str, gains: pd.DataFrame, x: str = SIZE
) -> Record:
  """Returns the record of the claim that the gain grows with `x`."""
  text = f"{title}: the gain grows with the {labels.words(x)}"
  return positive(text, metric, paper, claims.slope(gains, x))


def claim_growth(results: pd.DataFrame, figure: str) -> list[Record]:
  """Returns the claims that the gain grows with the parameters."""
  return [
    grows(c.title, metric, quote_gain(figure, c.workload), c.gains(metric))
    for c, metric in cases(results)
  ]


def does_not_grow(
  text: str,
  metric: str,
  paper: str,
  without: pd.DataFrame,
  having: pd.DataFrame,
) -> Record:
  """Returns the record of the claim that the gain does not grow.

  Args:
    text: the claim, in words.
    metric: of the gains.
    paper: what the paper found.
    without: the gains that do not grow, as is claimed.
    having: those with which they are compared; see `NO_GROWTH`.
  """
  estimate = claims.slope(without, SIZE)
  margin = NO_GROWTH * max(0.0, claims.slope(having, SIZE).value)
  verdict = claims.verdict(estimate, at_most=margin)
  statistic = f"{estimate.statistic}; none if at most {margin:.2g}"
  estimate = dataclasses.replace(estimate, statistic=statistic)
  return claims.claim_record(text, metric, paper, estimate, verdict)


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
  table = reference.gain(figure, _PAPER_NAMES[workload])
  return table if rate is None else table[table["label_noise"] == rate]


def quote(
  figure: str, workload: str, table: pd.DataFrame, x: str = SIZE
) -> str:
  """Returns the ends of a curve of the paper, and its slope, in words."""
  table = table.sort_values(x)
  values, sizes = table["mean"].to_numpy(), table[x].to_numpy(float)
  ends = " to ".join(
    f"{values[i]:.3g} at {labels.number(sizes[i])}" for i in (0, -1)
  )
  text = f"Figure {figure}, {TITLES[workload]}: gain {ends}"
  if x != SIZE:
    return f"{text} {labels.words(x)}"
  slope = np.polyfit(np.log2(sizes), values, 1)[0]
  return f"{text} parameters, slope {slope:.2g} for each doubling"


def quote_gain(
  figure: str, workload: str, rate: float | None = None, x: str = SIZE
) -> str:
  """Returns `quote` of the gain in the paper's workload that is most alike."""
  workload = nearest(workload)
  return quote(figure, workload, paper_gain(figure, workload, rate), x)
