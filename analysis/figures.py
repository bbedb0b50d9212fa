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

from analysis import captions
from run_folder import disk

BASE = "#222222"
SAM = "#D55E00"
PAPER = "#8A8A8A"
CATEGORIES = (SAM, "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SMALL = 8.5  # Points, of what is drawn when the style is no longer set.

_PANEL = (3.2, 3.2)  # Inches, with the legend.
_MAX_COLUMNS = 3
_LEGEND_LINE = 0.18  # Inches.
_LEGEND_BELOW = -0.45  # Inches, under the numbers and name of the axis.
_TITLE = 36  # Characters of a line of a title.
_WIDTH = 1000  # Pixels of the PNG, at most.
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


def method_colors(names: Sequence[Any]) -> list[Any]:
  """Returns the colours of SAM and its base optimizer, if that is all."""
  is_sam = ["SAM" in str(name) for name in names]
  if max(sum(is_sam), len(is_sam) - sum(is_sam)) > 1:
    return colors(names)
  return [SAM if sam else BASE for sam in is_sam]


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
  _fill(ax, x, middle, stderr, color)


def smooth_curve(
  ax: Axes,
  x: Sequence[float] | np.ndarray,
  mean: Sequence[float] | np.ndarray,
  stderr: Sequence[float] | np.ndarray | None,
  label: str,
  color: Any,
) -> None:
  """Draws a curve of too many points to mark each, and its standard errors."""
  middle = np.asarray(mean, float)
  ax.plot(x, middle, label=label, color=color, linewidth=1.4)
  _fill(ax, x, middle, stderr, color)


def _fill(
  ax: Axes,
  x: Sequence[float] | np.ndarray,
  middle: np.ndarray,
  stderr: Sequence[float] | np.ndarray | None,
  color: Any,
) -> None:
  if stderr is None:
    return
  half = np.nan_to_num(np.asarray(stderr, float))
  ax.fill_between(
    x, middle - half, middle + half, color=color, alpha=0.2, linewidth=0
  )


def x_axis(ax: Axes, column: str, values: Sequence[float]) -> None:
  """Names the axis and labels the values; counts get a log scale."""
  ax.set_xlabel(captions.words(column))
  ticks = np.unique(np.asarray(values, float))
  if not len(ticks):  # Every run diverged.
    return
  is_count = column.startswith("num_")
  log = ticks[0] > 0 and (is_count or ticks[-1] > 5 * ticks[0])
  ax.set_xscale("log" if log else "linear")
  label_ticks(ax, ticks, [captions.number(value) for value in ticks])


def log_y_axis(ax: Axes, ticks: Sequence[float]) -> None:
  """Makes the y axis logarithmic, with those of the ticks that are within."""
  ax.set_yscale("log")
  low, high = ax.get_ylim()
  shown = [tick for tick in ticks if low <= tick <= high]
  ax.set_yticks(shown, [captions.number(tick) for tick in shown])
  ax.set_yticks([], minor=True)


def label_ticks(ax: Axes, values: np.ndarray, texts: Sequence[str]) -> None:
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


def legend(ax: Axes, title: str = "") -> None:
  """Adds the legend below the panel, where it covers nothing.

  One of more than two lines makes the figure higher.
  """
  figure = ax.figure
  assert isinstance(figure, mpl_figure.Figure)
  _, texts = ax.get_legend_handles_labels()
  if not texts:
    return
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
    fontsize=SMALL,
    title_fontsize=SMALL,
    frameon=False,
    columnspacing=1.2,
    handlelength=2.2,
    handletextpad=0.5,
  )


def save(
  figure: mpl_figure.Figure,
  folder: str | os.PathLike[str],
  name: str = "figure",
) -> None:
  """Writes NAME.png, at most 1,000 pixels wide, and NAME.pdf."""
  dpi = min(160, _WIDTH / figure.get_figwidth())
  with disk.replacing(pathlib.Path(folder, f"{name}.png")) as file:
    figure.savefig(file, format="png", dpi=dpi)
  with disk.replacing(pathlib.Path(folder, f"{name}.pdf")) as file:
    # Without a date, the same figure is the same file.
    figure.savefig(file, format="pdf", metadata={"CreationDate": None})
