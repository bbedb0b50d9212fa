"""Conditions: the runs among which a study compares SAM with its base."""

from collections.abc import Sequence
import dataclasses

import pandas as pd

from analysis import selection
from analysis import statistics
from studies.kit import workloads

SIZE = "num_parameters"
# How well the training labels are fit, wrong ones too.
FIT = "final_train_accuracy"
_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


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

  def only(self, column: str, *values: object) -> "Condition":
    """Returns the condition with the runs that have one of these values."""
    runs = self.runs[self.runs[column].isin(values)]
    return dataclasses.replace(self, runs=runs)

  def chosen_by(self, metric: str = "") -> str:
    """Returns `choose_by` of the study's metric or another."""
    return choose_by(self.runs, metric or self.metric)

  def gains(self, metric: str = "", *group: str) -> pd.DataFrame:
    """Returns `gains` in the study's metric or another.

    Args:
      metric: '': the study's.
      *group: columns; none: the size.
    """
    return gains(self.runs, group or (SIZE,), metric or self.metric)

  def summary(self, metric: str = "", *group: str) -> pd.DataFrame:
    """Returns `statistics.summary` of `gains`."""
    return statistics.summary(self.gains(metric, *group), group or (SIZE,))

  def best_rho(self, *group: str) -> pd.DataFrame:
    """Returns `selection.optimal_rho` by these columns; none: the size."""
    return selection.optimal_rho(self.runs, group or (SIZE,), self.chosen_by())


def by_title(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Returns the runs of every workload, by its name in words.

  Those with clipped gradients are a workload of their own; of ViTs all are.
  """
  titled = {}
  groups = results.groupby(["workload", "gradient_clip"], sort=False)
  for (name, clip), runs in groups:
    workload = workloads.TABLE[name]
    is_variant = clip and not workload.with_bias
    variant = ", gradients clipped" if is_variant else ""
    titled[workload.title + variant] = runs
  return titled


def of(results: pd.DataFrame, main: float = 0.25) -> list[Condition]:
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


def with_metrics(results: pd.DataFrame) -> list[tuple[Condition, str]]:
  """Returns every condition with its metric, then with the other epoch's."""
  found = of(results)
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
  return selection.validation_metric(metric) if held_out else metric


def gains(
  runs: pd.DataFrame,
  group: Sequence[str],
  metric: str,
  tuned: Sequence[str] = ("rho",),
) -> pd.DataFrame:
  """Returns `selection.gains`, with the values chosen by `choose_by`."""
  chosen_by = choose_by(runs, metric)
  # Few columns, since pandas is slow with many.
  columns = [*group, "seed", "rho", *tuned, "status", metric, chosen_by]
  return selection.gains(
    runs[list(dict.fromkeys(columns))], group, metric, chosen_by, tuned
  )


def excess(gains: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
  """Returns by how much gains exceed others, paired by seed and size."""
  table = gains.merge(others, on=["seed", SIZE], suffixes=("", "_of_other"))
  for name in ("gain", "naive"):
    table[name] -= table[f"{name}_of_other"]
  return table
