"""Maps: a number over a plane of settings, as colours, and where it crosses."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
import numpy as np

# Points, as that of the other panels' ticks.
_SMALL = 8.5


def heat_map(
  ax: Axes,
  x: Sequence[float] | np.ndarray,
  y: Sequence[float] | np.ndarray,
  values_YxX: np.ndarray,
  *,
  limits: tuple[float, float],
  bar: bool = False,
) -> None:
  """Draws a number over a plane, dark where it is large.

  Args:
    ax: the panel.
    x: along its x axis.
    y: along its y axis.
    values_YxX: what is drawn; where it is not finite, the map is left grey.
    limits: of the colours.
    bar: whether a bar tells the colours.
  """
  scale = matplotlib.colormaps["viridis_r"]
  low, high = limits
  ax.set_facecolor("0.8")
  ax.grid(False)
  ax.pcolormesh(
    x,
    y,
    np.ma.masked_invalid(values_YxX),
    cmap=scale,
    vmin=low,
    vmax=high,
    shading="nearest",
    rasterized=True,
  )
  if bar:
    inset = ax.inset_axes((1.03, 0, 0.05, 1))
    levels = np.linspace(low, high, 65)
    middle = (levels[1:] + levels[:-1])[:, None] / 2
    inset.pcolormesh([0, 1], levels, middle, cmap=scale)
    inset.set_xticks([])
    inset.yaxis.tick_right()
    inset.tick_params(labelsize=_SMALL, length=2)
    inset.grid(False)


def crossing(
  x: Sequence[float] | np.ndarray,
  values: Sequence[float] | np.ndarray,
  level: float,
) -> float:
  """Returns the x beyond which the values stay below the level.

  It is interpolated between the last value that is not below it and the next;
  NaN if the first value is below, or the last is not.

  Args:
    x: ascending, [X].
    values: [X].
    level: what is crossed.
  """
  x, values = np.asarray(x, float), np.asarray(values, float)
  (not_below,) = np.nonzero(~(values < level))
  if not len(not_below) or not_below[-1] == len(x) - 1:
    return float("nan")
  i = not_below[-1]
  share = (values[i] - level) / (values[i] - values[i + 1])
  return float(x[i] + share * (x[i + 1] - x[i]))
