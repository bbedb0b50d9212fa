"""Maps: a number over a plane of settings, and the region where it is low."""

from collections.abc import Sequence
import dataclasses

import matplotlib
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import figures
from analysis import statistics


@dataclasses.dataclass(frozen=True)
class Map:
  """Runs of several seeds at every point of a plane.

  Their region is where the value is below the level.

  Attributes:
    runs: one for each x, y and seed.
    x: a column.
    y: a column; along it the value falls below the level.
    value: a column.
    level: what bounds the region.
  """

  runs: pd.DataFrame
  x: str
  y: str
  value: str
  level: float

  def areas(self) -> pd.DataFrame:
    """Returns each seed's area, the share of the points in its region, in %."""
    is_low = self.runs.assign(area=100.0 * (self.runs[self.value] < self.level))
    return is_low.groupby("seed")["area"].mean().reset_index()

  def borders(self) -> pd.DataFrame:
    """Returns each seed's `crossing` along y at every x, and its logarithm.

    Columns: x, seed, border, log2_border.
    """
    rows = []
    for key, runs in self.runs.groupby([self.x, "seed"]):
      runs = runs.sort_values(self.y)
      border = crossing(runs[self.y], runs[self.value], self.level)
      rows.append((*key, border, np.log2(border)))
    return pd.DataFrame(rows, columns=[self.x, "seed", "border", "log2_border"])

  def exponent(self, statistic: str) -> statistics.Estimate:
    """Returns the power of x to which the border is proportional."""
    return statistics.slope(self.borders(), self.x, "log2_border", statistic)

  def outside(self, other: "Map", statistic: str) -> statistics.Estimate:
    """Returns which share of the region is not in that of another map."""
    keys = [self.x, self.y, "seed"]
    columns = [*keys, self.value]
    low = self.runs.loc[self.runs[self.value] < self.level, columns]
    both = low.merge(other.runs[columns], on=keys, suffixes=("", "_of_other"))
    is_outside = both[f"{self.value}_of_other"] >= other.level
    return statistics.mean(
      both.assign(outside=1.0 * is_outside), "outside", statistic, step=1.0
    )

  def draw(
    self,
    ax: Axes,
    *,
    limits: tuple[float, float],
    label: str,
    bar: bool = False,
  ) -> None:
    """Draws the mean over seeds as colours, and the border of its region.

    Args:
      ax: the panel.
      limits: of the colours.
      label: what the legend calls the border.
      bar: whether a bar tells the colours.
    """
    mean = self.runs.pivot_table(
      index=self.y, columns=self.x, values=self.value
    )
    x, y = mean.columns.to_numpy(), mean.index.to_numpy()
    heat_map(ax, x, y, mean.to_numpy(), limits=limits, bar=bar)
    ax.contour(x, y, mean, [self.level], colors="black", linewidths=1.3)
    ax.plot([], [], color="black", label=label)
    ax.set_ylim(y.min(), y.max())


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
    inset.tick_params(labelsize=figures.SMALL, length=2)
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
