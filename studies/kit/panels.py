"""Figures as lists of panels, and the panels that several studies have."""

from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE


class Panel(NamedTuple):
  """A panel of a figure.

  Attributes:
    title: above it.
    draw: draws into it, all but the legend.
    args: of `draw`, after the panel.
    legend: title of the legend.
    share_x: the panel whose x axis it has, by its place; None: its own.
    share_y: the panel whose y axis it has.
  """

  title: str
  draw: Callable[..., None]
  args: tuple[Any, ...] = ()
  legend: str = ""
  share_x: int | None = None
  share_y: int | None = None


def figure(*panels: Panel) -> Figure:
  """Returns a figure of the panels, each with a legend below."""
  fig, axes = figures.create(len(panels), [panel.title for panel in panels])
  for ax, panel in zip(axes, panels, strict=True):
    if panel.share_x is not None and axes[panel.share_x] is not ax:
      ax.sharex(axes[panel.share_x])
    if panel.share_y is not None and axes[panel.share_y] is not ax:
      ax.sharey(axes[panel.share_y])
    panel.draw(ax, *panel.args)
    figures.legend(ax, panel.legend)
  return fig


def draw_gains(
  ax: Axes,
  runs: pd.DataFrame,
  name: Callable[[float], Any] = conditions.noise,
) -> None:
  """Draws the gain against the size, one curve for each label noise.

  Args:
    ax: the panel.
    runs: of one workload.
    name: what the legend calls a label noise.
  """
  metric = runs["metric"].iloc[0]
  group = ["label_noise", SIZE]
  summary = statistics.summary(conditions.gains(runs, group, metric), group)
  summary["noise"] = summary["label_noise"].map(name)
  if not summary["label_noise"].any():
    summary["noise"] = "measured"
  curves.gains(ax, summary, metric, by="noise")


def draw_pair(ax: Axes, condition: conditions.Condition) -> None:
  """Draws SAM at its best rho, and the base optimizer, against the size."""
  curves.pair(ax, condition.summary(), condition.metric, base=condition.base)


def draw_measured(
  ax: Axes, runs: pd.DataFrame, column: str, by: str, x: str = SIZE
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


def draw_papers_gain(
  ax: Axes,
  number: str,
  workload: str,
  label: str = "paper",
  color: Any = figures.PAPER,
  x: str = SIZE,
) -> None:
  """Draws the gain of a figure of the paper, if the workload is the paper's."""
  if workloads.is_papers(workload):
    table = reference.gain(number, workload)
    curves.paper(ax, table, x=x, label=label, color=color)


def draw_gains_beside_papers(ax: Axes, runs: pd.DataFrame, number: str) -> None:
  """Draws the gains of a workload, and that of a figure of the paper."""
  draw_gains(ax, runs)
  draw_papers_gain(ax, number, runs["workload"].iloc[0])


def draw_papers_pair(ax: Axes, table: pd.DataFrame) -> None:
  """Draws what SGD and SAM have in a table of the paper's."""
  for name, label, color in (
    ("base", "SGD", figures.BASE),
    ("sam", "SAM", figures.SAM),
  ):
    label = f"{label}, paper"
    curves.paper(ax, table, name, label=label, color=color)


def growth(results: pd.DataFrame, number: str) -> Figure:
  """Draws the gain in each workload, and the accuracies if there is only one.

  Args:
    results: the table.
    number: of the paper's figure, whose values are drawn beside.
  """
  found = conditions.by_title(results)
  main = conditions.of(results)[:1] if len(found) == 1 else []

  return figure(
    *(Panel(c.title, draw_pair, (c,)) for c in main),
    *(
      Panel(title, draw_gains_beside_papers, (runs, number))
      for title, runs in found.items()
    ),
  )
