"""Panels that several studies draw, from `figures` and `findings`."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import findings


def gain_curves(ax: Axes, runs: pd.DataFrame) -> None:
  """Draws the gain against the size, one curve for each label noise."""
  metric = runs["metric"].iloc[0]
  group = ["label_noise", findings.SIZE]
  summary = statistics.summary(findings.gains(runs, group, metric), group)
  summary["noise"] = summary["label_noise"].map(findings.noise)
  if not summary["label_noise"].any():
    summary["noise"] = "measured"
  figures.gain_curves(ax, summary, metric, by="noise")


def pair_curves(ax: Axes, condition: findings.Condition) -> None:
  """Draws SAM at its best rho, and the base optimizer, against the size."""
  summary = statistics.summary(condition.gains(), [findings.SIZE])
  figures.pair_curves(ax, summary, condition.metric, base=condition.base)


def measured_curves(
  ax: Axes, runs: pd.DataFrame, column: str, by: str, x: str = findings.SIZE
) -> None:
  """Draws a measured column against `x`, where every run has it.

  Means, and standard errors over the seeds.

  Args:
    ax: the panel; the caller names its y axis.
    runs: rows of the table of results.
    column: what was measured.
    by: a column, with one curve for each of its values.
    x: the column along the axis.
  """
  values = sorted(runs[by].unique())
  for value, color in zip(values, figures.colors(values), strict=True):
    groups = runs[runs[by] == value].groupby(x)[column]
    table = groups.agg(["mean", "sem"])[groups.count() == groups.size()]
    label = captions.value(value)
    figures.curve(ax, table.index, table["mean"], table["sem"], label, color)
  figures.x_axis(ax, x, runs[x])


def paper_gain(
  ax: Axes,
  figure: str,
  workload: str,
  label: str = "paper",
  color: Any = figures.PAPER,
  x: str = findings.SIZE,
) -> None:
  """Draws the paper's gain, if the workload is the paper's."""
  if findings.is_papers(workload):
    table = findings.paper_gain(figure, workload)
    figures.paper_curve(ax, table, x=x, label=label, color=color)


def paper_pair(ax: Axes, table: pd.DataFrame) -> None:
  """Draws what SGD and SAM have in a table of the paper's."""
  for name, label, color in (
    ("base", "SGD", figures.BASE),
    ("sam", "SAM", figures.SAM),
  ):
    label = f"{label}, paper"
    figures.paper_curve(ax, table, name, label=label, color=color)


def growth_figure(results: pd.DataFrame, figure: str) -> Figure:
  """Draws the gain in each workload, and the accuracies if there is only one.

  Args:
    results: the table.
    figure: number of the paper's, whose values are drawn beside.
  """
  workloads = findings.by_title(results)
  main = findings.conditions(results)[:1] if len(workloads) == 1 else []
  fig, axes = figures.create(
    len(main) + len(workloads), [*(c.title for c in main), *workloads]
  )
  for ax, condition in zip(axes, main, strict=False):
    pair_curves(ax, condition)
    figures.legend(ax)
  for ax, runs in zip(axes[len(main) :], workloads.values(), strict=True):
    gain_curves(ax, runs)
    paper_gain(ax, figure, runs["workload"].iloc[0])
    figures.legend(ax)
  return fig
