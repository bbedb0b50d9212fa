"""Curves of runs: gains, accuracies and losses, against a size, rho or time."""

from collections.abc import Mapping, Sequence
import textwrap
from typing import Any

from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import selection

_Y_LABEL = 25  # Characters of a line beside the axis.


def gains(
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
  figures.x_axis(ax, x, summary[x])
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
  for value, color in zip(values, figures.colors(values), strict=True):
    part = (table[table[by] == value] if by else table).sort_values(x)
    label = captions.value(value)
    figures.curve(ax, part[x], part[mean], part[stderr], label, color)


def pair(
  ax: Axes,
  summary: pd.DataFrame,
  metric: str,
  x: str = "num_parameters",
  base: str = "SGD",
) -> None:
  """Draws the metric of SAM and of the base optimizer, which `base` names."""
  table = summary.sort_values(x)
  for name, label, color in (
    ("base", base, figures.BASE),
    ("sam", "SAM", figures.SAM),
  ):
    figures.curve(
      ax, table[x], table[name], table[f"{name}_stderr"], label, color
    )
  figures.x_axis(ax, x, table[x])
  ax.set_ylabel(captions.metric(metric))


def gain_arrow(ax: Axes, x: float, base: float, sam: float) -> None:
  """Draws an arrow from the base optimizer to SAM, and the gain in points."""
  arrow = {"arrowstyle": "->", "color": "0.35", "shrinkA": 5, "shrinkB": 5}
  ax.annotate("", (x, sam), (x, base), arrowprops=arrow)
  ax.annotate(
    f"{sam - base:+.1f}",
    (x, (base + sam) / 2),
    xytext=(-6, 0),
    textcoords="offset points",
    ha="right",
    va="center",
    color="0.25",
  )


def by_rho(
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
  means = runs.groupby([by, "rho"])[metric].agg(["mean", "sem"]).reset_index()
  means[["mean", "sem"]] *= selection.scale(metric)
  is_sam = means["rho"] > 0
  sam, base = means[is_sam], means[~is_sam]
  _curves(ax, sam, "rho", by, "mean", "sem", "")
  rhos = np.unique(sam["rho"])
  ax.set_ylabel(captions.metric(metric))
  ax.set_xlabel("rho")
  if not len(rhos):  # All diverged.
    return
  ax.set_xscale("log")
  step = max((rhos[-1] / rhos[0]) ** 0.16, 1.5)
  zero = rhos[0] / step
  values = sorted(means[by].unique())
  for value, color in zip(values, figures.colors(values), strict=True):
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
  figures.label_ticks(
    ax, rhos, ["0" if x == zero else captions.number(x) for x in rhos]
  )


def best_rho(
  ax: Axes,
  chosen: pd.DataFrame,
  by: str,
  x: str = "num_parameters",
  paper: pd.DataFrame | None = None,
) -> None:
  """Draws the best rho, as `selection.optimal_rho` returns it, against a size.

  Args:
    ax: the panel.
    chosen: a table with the columns rho, `by` and `x`.
    by: a column, with one curve for each of its values.
    x: the column along the axis.
    paper: what the paper chose, such a table; dashed.
  """
  paper = chosen[:0] if paper is None else paper
  values = sorted(chosen[by].unique())
  for value, color in zip(values, figures.colors(values), strict=True):
    label = captions.value(value)
    for table, text in ((chosen, label), (paper, f"{label}, paper")):
      part = table[table[by] == value].sort_values(x)
      if len(part):
        dashed = table is paper
        figures.curve(ax, part[x], part["rho"], None, text, color, dashed)
  both = pd.concat([chosen, paper])
  figures.x_axis(ax, x, both[x])
  ax.set_yscale("log")
  rhos = np.unique(both["rho"])
  ax.set_yticks(rhos, [captions.number(rho) for rho in rhos])
  ax.set_yticks([], minor=True)
  ax.set_ylabel("best rho")


def paper(
  ax: Axes,
  reference: pd.DataFrame,
  y: str = "mean",
  x: str = "num_parameters",
  label: str = "paper",
  color: Any = figures.PAPER,
) -> None:
  """Draws a column of a table of `reference`, dashed."""
  table = reference.sort_values(x)
  stderr = table["stderr"] if y == "mean" else None
  figures.curve(ax, table[x], table[y], stderr, label, color, dashed=True)
  figures.x_axis(ax, x, [*ax.get_xticks(), *table[x]])


def losses(
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
  chosen = dict(zip(curves, figures.method_colors(list(curves)), strict=True))
  for name, (mean, stderr) in curves.items():
    figures.smooth_curve(
      ax, x, mean, stderr, captions.value(name), chosen[name]
    )
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
  seen = np.concatenate([np.empty(0), *drawn])
  seen = seen[np.isfinite(seen) & (seen > 0)]
  if len(seen):
    ax.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
  ax.set_xlabel(x_label)
  ax.set_ylabel(y_label)
