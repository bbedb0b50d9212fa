"""The one look of all figures: panels, curves with error bands, named axes.

Nothing here touches pyplot or matplotlib's settings, so that a figure leaves no
trace in the program that draws it. Colours are told apart by colour-blind
readers: Okabe and Ito's for categories, viridis without its pale end for what
is ordered.
"""

from collections.abc import Sequence
import math
import os
import pathlib
import textwrap
from typing import Any

import matplotlib
from matplotlib import figure as mpl_figure
from matplotlib import transforms
from matplotlib.axes import Axes
from matplotlib.backends import backend_agg
import numpy as np
import pandas as pd

from studies import claims
from studies import labels

BASE = "#222222"
SAM = "#D55E00"
PAPER = "#8A8A8A"
CATEGORIES = (SAM, "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_PANEL = (3.2, 3.2)  # Inches, with the legend.
_MAX_COLUMNS = 3
_LEGEND_LINE = 0.18  # Inches.
_LEGEND_BELOW = -0.45  # Inches, under the numbers and name of the axis.
_TITLE = 36  # Characters of a line of a title.
_WIDTH = 1000  # Pixels of the PNG, at most.
_Y_LABEL = 25  # Characters of a line beside the axis.
_CHARACTER = 0.025  # Width of a character of a tick's label, in axis widths.
_STYLE: dict[Any, Any] = {
  "font.size": 9,
  "axes.titlesize": 9.5,
  "axes.titlelocation": "left",
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.grid.axis": "y",
  "axes.axisbelow": True,
  "grid.color": "0.9",
  "axes.edgecolor": "0.4",
  "xtick.labelsize": 8.5,
  "ytick.labelsize": 8.5,
  "xtick.color": "0.2",
  "ytick.color": "0.2",
}


def create(
  num_panels: int = 1, titles: Sequence[str] = ()
) -> tuple[mpl_figure.Figure, list[Axes]]:
  """Returns a figure and its panels, at most three in a row."""
  rows = math.ceil(num_panels / _MAX_COLUMNS)
  columns = math.ceil(num_panels / rows)
  width, height = _PANEL
  if num_panels == 1:
    width, height = 1.5 * width, 1.1 * height
  with matplotlib.rc_context(_STYLE):
    figure = mpl_figure.Figure(
      figsize=(columns * width, rows * height), layout="constrained"
    )
    backend_agg.FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(num_panels)]
    for ax, title in zip(axes, titles, strict=False):
      ax.set_title(textwrap.fill(title, _TITLE))
  return figure, axes


def colors(values: Sequence[Any]) -> list[Any]:
  """Returns one colour a value: a scale for numbers, else categories."""
  if len(values) == 1:
    return [SAM]
  if all(isinstance(value, (int, float, np.number)) for value in values):
    scale = matplotlib.colormaps["viridis"]
    return [scale(x) for x in np.linspace(0.0, 0.85, len(values))]
  return [CATEGORIES[i % len(CATEGORIES)] for i in range(len(values))]


def curve(
  ax: Axes,
  x: Sequence[float],
  mean: Sequence[float],
  stderr: Sequence[float] | None,
  label: str,
  color: Any,
  dashed: bool = False,
) -> None:
  """Draws means as a line and their standard errors as a band."""
  middle = np.asarray(mean, float)
  ax.plot(
    x,
    middle,
    label=label,
    color=color,
    linestyle="--" if dashed else "-",
    linewidth=1.6,
    marker="o",
    markersize=3.5,
  )
  if stderr is not None:
    half = np.nan_to_num(np.asarray(stderr, float))
    ax.fill_between(
      x, middle - half, middle + half, color=color, alpha=0.2, linewidth=0
    )


def x_axis(ax: Axes, column: str, values: Sequence[float]) -> None:
  """Names the axis and labels the values; counts get a log scale."""
  ticks = np.unique(np.asarray(values, float))
  is_count = column.startswith("num_")
  log = ticks[0] > 0 and (is_count or ticks[-1] > 5 * ticks[0])
  ax.set_xscale("log" if log else "linear")
  _ticks(ax, ticks, [labels.number(value) for value in ticks])
  ax.set_xlabel(labels.words(column))


def _ticks(ax: Axes, values: np.ndarray, texts: Sequence[str]) -> None:
  """Sets a tick for every value, and labels those that have room for it."""
  at = np.log(values) if ax.get_xscale() == "log" else values
  at = (at - at[0]) / max(at[-1] - at[0], 1e-12)

  def overlap(i: int, j: int) -> bool:
    width = _CHARACTER * ((len(texts[i]) + len(texts[j])) / 2 + 1)
    return at[j] - at[i] < width

  last = len(values) - 1
  kept = [0]
  for i in range(1, last):
    if not overlap(kept[-1], i) and not overlap(i, last):
      kept.append(i)
  kept.append(last)
  ax.set_xticks(
    values, [text if i in kept else "" for i, text in enumerate(texts)]
  )
  ax.set_xticks([], minor=True)


def gain_curves(
  ax: Axes,
  summary: pd.DataFrame,
  metric: str,
  x: str = "num_parameters",
  by: str | None = None,
) -> None:
  """Draws the gain of SAM, above or below a line at 0.

  Args:
    ax: the panel.
    summary: what `claims.summary` returns.
    metric: the metric of the gain; it names the axis.
    x: the column along the axis.
    by: a column, with one curve for each of its values.
  """
  ax.axhline(0, color="0.5", linewidth=0.8, zorder=1)
  _curves(ax, summary, x, by, "mean", "stderr", "SAM")
  x_axis(ax, x, summary[x])
  ax.set_ylabel(textwrap.fill(labels.gain(metric), _Y_LABEL))


def _curves(
  ax: Axes,
  table: pd.DataFrame,
  x: str,
  by: str | None,
  mean: str,
  stderr: str,
  alone: str,
) -> None:
  values = sorted(table[by].unique()) if by else [alone]
  for value, color in zip(values, colors(values), strict=True):
    part = (table[table[by] == value] if by else table).sort_values(x)
    label = labels.value(value)
    curve(ax, part[x], part[mean], part[stderr], label, color)


def pair_curves(
  ax: Axes,
  summary: pd.DataFrame,
  metric: str,
  x: str = "num_parameters",
  base: str = "SGD",
) -> None:
  """Draws the metric of SAM and of the base optimizer, which `base` names."""
  table = summary.sort_values(x)
  for name, label, color in (("base", base, BASE), ("sam", "SAM", SAM)):
    curve(ax, table[x], table[name], table[f"{name}_stderr"], label, color)
  x_axis(ax, x, table[x])
  ax.set_ylabel(labels.metric(metric))


def rho_curves(
  ax: Axes, runs: pd.DataFrame, metric: str, by: str = "num_parameters"
) -> None:
  """Draws a metric against rho, and the base optimizer at rho = 0, apart.

  Args:
    ax: the panel.
    runs: a frame of runs; those of one rho and `by` differ in the seed.
    metric: a column of the frame.
    by: a column, with one curve for each of its values.
  """
  runs = runs[runs["status"] == "finished"]
  by_rho = runs.groupby([by, "rho"])[metric].agg(["mean", "sem"]).reset_index()
  by_rho[["mean", "sem"]] *= claims.scale(metric)
  is_sam = by_rho["rho"] > 0
  sam, base = by_rho[is_sam], by_rho[~is_sam]
  _curves(ax, sam, "rho", by, "mean", "sem", "")
  rhos = np.unique(sam["rho"])
  ax.set_xscale("log")
  step = max((rhos[-1] / rhos[0]) ** 0.16, 1.5)
  zero = rhos[0] / step
  values = sorted(by_rho[by].unique())
  for value, color in zip(values, colors(values), strict=True):
    part = base[base[by] == value]
    ax.errorbar(
      np.full(len(part), zero),
      part["mean"],
      np.nan_to_num(part["sem"]),
      color=color,
      fmt="s",
      markersize=4,
      elinewidth=1,
    )
  if len(base):
    ax.axvline(zero * step**0.5, color="0.6", linewidth=0.8, linestyle=":")
    rhos = np.append(zero, rhos)
  _ticks(ax, rhos, ["0" if x == zero else labels.number(x) for x in rhos])
  ax.set_xlabel("rho")
  ax.set_ylabel(labels.metric(metric))


def best_rho_curves(
  ax: Axes,
  chosen: pd.DataFrame,
  by: str,
  x: str = "num_parameters",
  paper: pd.DataFrame | None = None,
) -> None:
  """Draws the best rho, as `claims.optimal_rho` returns it, against a size.

  Args:
    ax: the panel.
    chosen: a table with the columns rho, `by` and `x`.
    by: a column, with one curve for each of its values.
    x: the column along the axis.
    paper: what the paper chose, such a table; dashed.
  """
  paper = chosen[:0] if paper is None else paper
  values = sorted(chosen[by].unique())
  for value, color in zip(values, colors(values), strict=True):
    label = labels.value(value)
    for table, text in ((chosen, label), (paper, f"{label}, paper")):
      part = table[table[by] == value].sort_values(x)
      if len(part):
        dashed = table is paper
        curve(ax, part[x], part["rho"], None, text, color, dashed)
  both = pd.concat([chosen, paper])
  x_axis(ax, x, both[x])
  ax.set_yscale("log")
  rhos = np.unique(both["rho"])
  ax.set_yticks(rhos, [labels.number(rho) for rho in rhos])
  ax.set_yticks([], minor=True)
  ax.set_ylabel("best rho")


def paper_curve(
  ax: Axes,
  reference: pd.DataFrame,
  y: str = "mean",
  x: str = "num_parameters",
  label: str = "paper",
  color: Any = PAPER,
) -> None:
  """Draws a column of a table of `reference`, dashed."""
  table = reference.sort_values(x)
  stderr = table["stderr"] if y == "mean" else None
  curve(ax, table[x], table[y], stderr, label, color, dashed=True)
  x_axis(ax, x, [*ax.get_xticks(), *table[x]])


def legend(ax: Axes, title: str = "") -> None:
  """Adds the legend below the panel, where it covers nothing.

  One of more than two lines makes the figure higher.
  """
  figure = ax.figure
  assert isinstance(figure, mpl_figure.Figure)
  _, texts = ax.get_legend_handles_labels()
  entry = 0.5 + 0.07 * max(map(len, texts))  # Inches, with its line.
  room = _PANEL[0] * (1.5 if len(figure.axes) == 1 else 1)
  columns = max(1, min(len(texts), int(room / entry)))
  more = max(0, math.ceil(len(texts) / columns) - 2)
  figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * more)
  below = transforms.ScaledTranslation(0, _LEGEND_BELOW, figure.dpi_scale_trans)
  ax.legend(
    loc="upper center",
    bbox_to_anchor=(0.5, 0),
    bbox_transform=ax.transAxes + below,
    ncols=columns,
    title=title,
    fontsize=8.5,
    title_fontsize=8.5,
    frameon=False,
    columnspacing=1.2,
    handlelength=2.2,
    handletextpad=0.5,
  )


def save(figure: mpl_figure.Figure, folder: str | os.PathLike[str]) -> None:
  """Writes figure.png, at most 1,000 pixels wide, and figure.pdf."""
  dpi = min(160, _WIDTH / figure.get_figwidth())
  figure.savefig(pathlib.Path(folder, "figure.png"), dpi=dpi)
  # Without a date, the same figure is the same file.
  figure.savefig(
    pathlib.Path(folder, "figure.pdf"), metadata={"CreationDate": None}
  )
