"""Landscapes: eigenvalues of a Hessian, and losses over lines and planes."""

from collections.abc import Mapping, Sequence
import itertools
import math
from typing import Any

import matplotlib
from matplotlib import colors as mpl_colors
from matplotlib import patheffects
from matplotlib import ticker
from matplotlib.axes import Axes
import numpy as np

from analysis import captions
from analysis import figures

_DENSITY_RANGE = 1e-9  # Densities below this share of the highest are nothing.
_LOSS_RANGE = 1e-8  # Losses below this share of the highest have one colour.
_LINEAR_RANGE = 1000  # Times the lowest loss, that a linear axis can show.
_MAX_LEVELS = 10


def spectrum(
  ax: Axes,
  grid: Sequence[float] | np.ndarray,
  mean: Sequence[float] | np.ndarray,
  stderr: Sequence[float] | np.ndarray | None,
  eigenvalues: Sequence[float] | np.ndarray = (),
  *,
  label: str = "",
  color: Any = figures.SAM,
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
  figures.smooth_curve(ax, grid, density, stderr, label, color)
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


def line(
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
    rows.items(), figures.method_colors(list(rows)), strict=True
  ):
    count = len(values)
    sem = values.std(0, ddof=1) / math.sqrt(count) if count > 1 else None
    figures.smooth_curve(
      ax, offsets, values.mean(0), sem, captions.value(name), color
    )
  seen = np.concatenate([values.mean(0) for values in rows.values()])
  seen = seen[np.isfinite(seen)]
  if len(seen) and 0 < _LINEAR_RANGE * seen.min() < seen.max():
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
  ax.set_xlabel(x_label)
  ax.set_ylabel(y_label)


def plane(
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
  bar.tick_params(labelsize=figures.SMALL, length=2)
  bar.grid(False)
  bar.set_title("loss", fontsize=figures.SMALL, loc="left")

  outline = [patheffects.withStroke(linewidth=3, foreground="white")]
  for name, paths in (trajectories or {}).items():
    color = figures.SAM if "SAM" in name else figures.BASE
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
      color=figures.SAM if "SAM" in name else figures.BASE,
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
