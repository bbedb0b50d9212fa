"""The one look of all figures: panels, curves with error bands, named axes.

Nothing here touches pyplot or matplotlib's settings, so that a figure leaves no
trace in the program that draws it. Colours are told apart by colour-blind
readers: Okabe and Ito's for categories, viridis without its pale end for what
is ordered.
"""

from collections.abc import Mapping, Sequence
import itertools
import math
import os
import pathlib
import textwrap
from typing import Any

import matplotlib
from matplotlib import colors as mpl_colors
from matplotlib import figure as mpl_figure
from matplotlib import patheffects
from matplotlib import ticker
from matplotlib import transforms
from matplotlib.axes import Axes
from matplotlib.backends import backend_agg
import numpy as np
import pandas as pd

from analysis import captions
from analysis import statistics

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
_SMALL = 8.5  # Points, of what is drawn when the style is no longer set.
_DENSITY_RANGE = 1e-9  # Densities below this share of the highest are nothing.
_LOSS_RANGE = 1e-8  # Losses below this share of the highest have one colour.
_LINEAR_RANGE = 1000  # Times the lowest loss, that a linear axis can show.
_MAX_LEVELS = 10
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
  _ticks(ax, ticks, [captions.number(value) for value in ticks])
  ax.set_xlabel(captions.words(column))


def log_y_axis(ax: Axes, ticks: Sequence[float]) -> None:
  """Makes the y axis logarithmic, with those of the ticks that are within."""
  ax.set_yscale("log")
  low, high = ax.get_ylim()
  shown = [tick for tick in ticks if low <= tick <= high]
  ax.set_yticks(shown, [captions.number(tick) for tick in shown])
  ax.set_yticks([], minor=True)


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
    summary: what `statistics.summary` returns.
    metric: the metric of the gain; it names the axis.
    x: the column along the axis.
    by: a column, with one curve for each of its values.
  """
  ax.axhline(0, color="0.5", linewidth=0.8, zorder=1)
  _curves(ax, summary, x, by, "mean", "stderr", "SAM")
  x_axis(ax, x, summary[x])
  ax.set_ylabel(textwrap.fill(captions.gain(metric), _Y_LABEL))


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
    label = captions.value(value)
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
  ax.set_ylabel(captions.metric(metric))


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
  by_rho[["mean", "sem"]] *= statistics.scale(metric)
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
  _ticks(ax, rhos, ["0" if x == zero else captions.number(x) for x in rhos])
  ax.set_xlabel("rho")
  ax.set_ylabel(captions.metric(metric))


def best_rho_curves(
  ax: Axes,
  chosen: pd.DataFrame,
  by: str,
  x: str = "num_parameters",
  paper: pd.DataFrame | None = None,
) -> None:
  """Draws the best rho, as `statistics.optimal_rho` returns it, against a size.

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
    label = captions.value(value)
    for table, text in ((chosen, label), (paper, f"{label}, paper")):
      part = table[table[by] == value].sort_values(x)
      if len(part):
        dashed = table is paper
        curve(ax, part[x], part["rho"], None, text, color, dashed)
  both = pd.concat([chosen, paper])
  x_axis(ax, x, both[x])
  ax.set_yscale("log")
  rhos = np.unique(both["rho"])
  ax.set_yticks(rhos, [captions.number(rho) for rho in rhos])
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


def _method_colors(names: Sequence[Any]) -> list[Any]:
  """Returns the colours of SAM and its base optimizer, if that is all."""
  is_sam = ["SAM" in str(name) for name in names]
  if max(sum(is_sam), len(is_sam) - sum(is_sam)) > 1:
    return colors(names)
  return [SAM if sam else BASE for sam in is_sam]


def _band(
  ax: Axes,
  x: Sequence[float] | np.ndarray,
  mean: Sequence[float] | np.ndarray,
  stderr: Sequence[float] | np.ndarray | None,
  label: str,
  color: Any,
) -> None:
  """Draws a curve of too many points to mark them, and its band."""
  middle = np.asarray(mean, float)
  ax.plot(x, middle, label=label, color=color, linewidth=1.4)
  if stderr is not None:
    half = np.nan_to_num(np.asarray(stderr, float))
    ax.fill_between(
      x, middle - half, middle + half, color=color, alpha=0.2, linewidth=0
    )


def spectrum(
  ax: Axes,
  grid: Sequence[float] | np.ndarray,
  mean: Sequence[float] | np.ndarray,
  stderr: Sequence[float] | np.ndarray | None,
  eigenvalues: Sequence[float] | np.ndarray = (),
  *,
  label: str = "",
  color: Any = SAM,
  linear_within: float | None = None,
) -> None:
  """Draws the density of eigenvalues, and marks some of them below it.

  The axis of the density is logarithmic, down to where its lowest peak ends.

  Args:
    ax: the panel; it may have other spectra.
    grid: eigenvalues, ascending, [G].
    mean: density per unit of the eigenvalue, [G].
    stderr: its standard error, [G].
    eigenvalues: what is marked, such as the largest.
    label: for the legend.
    color: of the curve and the marks.
    linear_within: the axis of eigenvalues is linear up to this absolute value
      and logarithmic beyond; None: linear.
  """
  density = np.asarray(mean, float)
  inner = density[1:-1]
  is_peak = (inner >= density[:-2]) & (inner >= density[2:])
  peaks = np.append(inner[is_peak], density.max())
  floor = peaks[peaks > _DENSITY_RANGE * density.max()].min() / 30
  is_first = not ax.lines
  _band(ax, grid, density, stderr, label, color)
  ax.set_yscale("log", nonpositive="clip")
  top = 2 * density.max()
  if not is_first:
    floor, top = min(floor, ax.get_ylim()[0]), max(top, ax.get_ylim()[1])
  ax.set_ylim(floor, top)
  ax.plot(
    eigenvalues,
    np.full(len(eigenvalues), 0.03),
    transform=ax.get_xaxis_transform(),
    color=color,
    linestyle="none",
    marker="^",
    markersize=5,
    markeredgecolor="white",
    markeredgewidth=0.5,
    clip_on=False,
    zorder=3,
  )
  if is_first and min(np.min(grid), *eigenvalues, 0) < 0:
    ax.axvline(0, color="0.5", linewidth=0.8, linestyle=":", zorder=1)
  if linear_within is not None:
    ax.set_xscale("symlog", linthresh=linear_within)
    first = math.ceil(math.log10(linear_within))
    powers = 10.0 ** np.arange(first, first + 12)
    # Not `set_xticks`, which would extend the axis to all of them.
    ax.xaxis.set_major_locator(
      ticker.FixedLocator([*-powers[::-1], 0, *powers])
    )
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.xaxis.set_major_formatter(lambda x, _: captions.number(x))
  ax.set_xlabel("eigenvalue of the Hessian")
  ax.set_ylabel("density")


def landscape_line(
  ax: Axes,
  offsets: Sequence[float] | np.ndarray,
  losses: Mapping[Any, np.ndarray],
  *,
  x_label: str = "offset along a random direction",
  y_label: str = "training loss",
) -> None:
  """Draws the loss along a line, one curve for each entry.

  The axis of the loss is linear, which shows curvature as it is, unless the
  losses span more than three powers of ten.

  Args:
    ax: the panel.
    offsets: [A].
    losses: by what the legend calls them, [A]; or [D, A] along D lines, whose
      mean is drawn with its standard error.
    x_label: of the offsets.
    y_label: of the losses.
  """
  rows = {name: np.atleast_2d(values) for name, values in losses.items()}
  for (name, values), color in zip(
    rows.items(), _method_colors(list(rows)), strict=True
  ):
    count = len(values)
    sem = values.std(0, ddof=1) / math.sqrt(count) if count > 1 else None
    _band(ax, offsets, values.mean(0), sem, captions.value(name), color)
  seen = np.concatenate([values.mean(0) for values in rows.values()])
  seen = seen[np.isfinite(seen)]
  if len(seen) and 0 < _LINEAR_RANGE * seen.min() < seen.max():
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
  ax.set_xlabel(x_label)
  ax.set_ylabel(y_label)


def landscape_plane(
  ax: Axes,
  offsets_a: Sequence[float] | np.ndarray,
  offsets_b: Sequence[float] | np.ndarray,
  losses: np.ndarray,
  *,
  points: Mapping[str, np.ndarray] | None = None,
  trajectories: Mapping[str, Sequence[np.ndarray]] | None = None,
  names: tuple[str, str] = ("first direction", "second direction"),
) -> None:
  """Draws contours of the loss over a plane, in steps of its logarithm.

  Where the loss is not finite, the plane is left grey.

  Args:
    ax: the panel.
    offsets_a: along the x axis, [A].
    offsets_b: along the y axis, [B].
    losses: [A, B].
    points: marked, by what the legend calls them, each [n, 2]; those of SAM
      are orange.
    trajectories: paths by the name of their optimizer, each path [T, 2], with
      a ring where it starts and a dot where it ends.
    names: of the axes.
  """
  values = np.asarray(losses, float).T
  levels = loss_levels(values[np.isfinite(values)])
  values = np.ma.masked_invalid(values).clip(levels[0], levels[-1])
  scale = mpl_colors.LinearSegmentedColormap.from_list(
    "loss", matplotlib.colormaps["Blues"](np.linspace(0, 0.9, 64))
  )
  norm = mpl_colors.LogNorm(levels[0], levels[-1])
  ax.set_facecolor("0.8")
  ax.grid(False)
  ax.contourf(offsets_a, offsets_b, values, levels, cmap=scale, norm=norm)
  ax.contour(
    offsets_a, offsets_b, values, levels, colors="white", linewidths=0.5
  )

  # Beside the panel and as high, whatever its shape.
  bar = ax.inset_axes((1.04, 0, 0.05, 1))
  middle = np.sqrt(levels[1:] * levels[:-1])
  bar.pcolormesh([0, 1], levels, middle[:, None], cmap=scale, norm=norm)
  bar.set_yscale("log")
  bar.set_xticks([])
  bar.set_yticks(levels, [captions.number(x) for x in levels])
  bar.set_yticks([], minor=True)
  bar.yaxis.tick_right()
  bar.tick_params(labelsize=_SMALL, length=2)
  bar.grid(False)
  bar.set_title("loss", fontsize=_SMALL, loc="left")

  outline = [patheffects.withStroke(linewidth=3, foreground="white")]
  for name, paths in (trajectories or {}).items():
    color = SAM if "SAM" in name else BASE
    for i, path in enumerate(paths):
      x, y = np.asarray(path, float).T
      label = name if i == 0 else None
      ax.plot(
        x, y, color=color, linewidth=1.3, label=label, path_effects=outline
      )
      ends: dict[str, Any] = dict(
        color=color, marker="o", markersize=5, zorder=3
      )
      ax.plot(x[0], y[0], **ends, markerfacecolor="white")
      ax.plot(x[-1], y[-1], **ends, markeredgecolor="white")
  markers = itertools.cycle("*sDP^v")
  for (name, at), marker in zip((points or {}).items(), markers, strict=False):
    x, y = np.reshape(np.asarray(at, float), (-1, 2)).T
    ax.plot(
      x,
      y,
      color=SAM if "SAM" in name else BASE,
      linestyle="none",
      marker=marker,
      markersize=11 if marker == "*" else 7,
      markeredgecolor="white",
      label=name,
      zorder=4,
    )
  ax.set_xlim(np.min(offsets_a), np.max(offsets_a))
  ax.set_ylim(np.min(offsets_b), np.max(offsets_b))
  width, height = np.ptp(offsets_a), np.ptp(offsets_b)
  if max(width, height) <= 2 * min(width, height):
    ax.set_aspect("equal")
  ax.set_xlabel(names[0])
  ax.set_ylabel(names[1])


def loss_levels(losses: np.ndarray) -> np.ndarray:
  """Returns round levels for contours, at most 10, ascending and positive.

  They enclose the positive losses, but for those below 1e-8 of the highest: a
  loss of 0 has the colour of the lowest level.
  """
  high = np.max(losses, initial=0.0)
  if high <= 0:
    return np.array([0.5, 1.0])
  low = np.min(losses[losses > _LOSS_RANGE * high])
  if high < 5 * low:
    if high < 1.001 * low:
      return np.array([0.9 * low, 1.1 * high])
    locator = ticker.MaxNLocator(_MAX_LEVELS - 1, steps=(1, 2, 5, 10))
    ticks = np.asarray(locator.tick_values(low, high))
    return ticks[ticks > 0]
  decades = np.arange(
    math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
  )
  for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
    all_levels = np.outer(10.0**decades, steps).ravel()
    first = np.searchsorted(all_levels, low * (1 + 1e-9), "right") - 1
    last = np.searchsorted(all_levels, high * (1 - 1e-9))
    levels = all_levels[first : last + 1]
    if len(levels) <= _MAX_LEVELS:
      break
  return levels


def loss_curves(
  ax: Axes,
  x: Sequence[float] | np.ndarray,
  curves: Mapping[Any, tuple[np.ndarray, np.ndarray | None]],
  *,
  bounds: Mapping[Any, np.ndarray] | None = None,
  base: int = 10,
  x_label: str = "epoch",
  y_label: str = "training loss",
) -> None:
  """Draws losses against time on a logarithmic axis.

  Args:
    ax: the panel.
    x: steps or epochs, [T].
    curves: means and standard errors, each [T], by what the legend calls them;
      numbers get a scale of colours.
    bounds: what theory bounds some of them by, [T]; dashed.
    base: of the logarithm.
    x_label: of the time.
    y_label: of the loss.
  """
  chosen = dict(zip(curves, _method_colors(list(curves)), strict=True))
  for name, (mean, stderr) in curves.items():
    _band(ax, x, mean, stderr, captions.value(name), chosen[name])
  drawn = [np.asarray(mean, float) for mean, _ in curves.values()]
  for name, values in (bounds or {}).items():
    ax.plot(
      x,
      values,
      label=f"{captions.value(name)}, bound",
      color=chosen[name],
      linestyle="--",
      linewidth=1.2,
    )
    drawn.append(np.asarray(values, float))
  ax.set_yscale("log", base=base, nonpositive="clip")
  # A band may reach below 0; the curves say where the axis ends.
  seen = np.concatenate(drawn)
  seen = seen[np.isfinite(seen) & (seen > 0)]
  if len(seen):
    ax.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
  ax.set_xlabel(x_label)
  ax.set_ylabel(y_label)


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


def save(
  figure: mpl_figure.Figure,
  folder: str | os.PathLike[str],
  name: str = "figure",
) -> None:
  """Writes NAME.png, at most 1,000 pixels wide, and NAME.pdf."""
  dpi = min(160, _WIDTH / figure.get_figwidth())
  figure.savefig(pathlib.Path(folder, f"{name}.png"), dpi=dpi)
  # Without a date, the same figure is the same file.
  figure.savefig(
    pathlib.Path(folder, f"{name}.pdf"), metadata={"CreationDate": None}
  )
