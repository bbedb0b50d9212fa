"""The functions that are found: Shin et al. (UAI 2025), Figures 2 and 3.

One hidden layer of ReLUs is fit to twelve points of a line, which 100 neurons
can interpolate and 5 cannot. The paper shows functions and trajectories; its
claims are put into numbers here. With 100 and 1,000 neurons SAM's functions
differ less from seed to seed than SGD's, bend less and lie in flatter minima,
farther from the start; with 5 and 10, both find much the same. Metrics, each as
a ratio of SAM to SGD:

  variance over seeds, averaged over the inputs of Figure 2;
  linear pieces between the outermost points: 1 + the kinks -b / w of neurons at
    which the slope changes by more than 0.14, a hundredth of the steepest slope
    between neighbouring points;
  lines: the fewest straight ones, from kink to kink, within 0.1 of the
    function, as the eye counts pieces;
  bending: the total change of the slope between the outermost points;
  largest eigenvalue of the Hessian; distance from the initial weights.

Each is a geometric mean over pairs of one seed, but for the variance, whose
interval is the jackknife's over seeds. "Less" is a ratio below 1; "much the
same" is one between 1/2 and 2.

  laptop: rho 0 and 0.2, 10 seeds, 100,000 to 400,000 steps. Up to 100 neurons
    the learning rate is larger, so that its sum over the steps is the paper's.
    With 1,000, a larger one switches neurons off in the first steps, so that
    sum is two fifths of the paper's, and SAM still moves on. With 5 and 10 also
    rho 0.02, which is as large, relative to the weights, as 0.2 with 1,000.
  paper: rho 0 and 0.2, 1,000,000 steps, 3 seeds.

The seed sets the initial weights and the order of the points at once, so the
planes are through a start, its SGD and its SAM minimum, where the paper's are
through two SGD minima and a SAM minimum of one start.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Any

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import figures
from analysis import landscapes
from analysis import restored
from analysis import statistics
from data import regression_1d
from sharpness import landscape
from sharpness import measures
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study
from theory import polylines
from training import objectives

FIRST, LAST = regression_1d.INPUTS[[0, -1]]
# Figure 2 shows a little more than the data.
GRID = np.linspace(FIRST - 0.05, LAST + 0.05, 401)
LEAST_BEND = 0.14
LINE_ERROR = 0.1
WIDE = 100  # Neurons.
RHO = 0.2
SMALL_RHO = 0.02
# Between which ratios of SAM to SGD a number is as is claimed.
BELOW, SIMILAR, ABOVE = (0.0, 1.0), (0.5, 2.0), (1.0, math.inf)
LIMITS = {BELOW: "below", SIMILAR: "similar to", ABOVE: "above"}
VARIANCE = "variance over seeds"
# What the paper shows of wide and of narrow networks; it has no numbers.
FUNCTIONS = (
  "Figure 2: SGD's functions wiggle and differ from seed to seed, SAM's are"
  " simple and nearly the same",
  "Figure 2: SGD and SAM find similar functions",
)
BASINS = (
  "Figure 3: SAM moves to another basin, in planes of 40 and 125 units",
  "Figure 3: SGD and SAM end in one basin",
)
# Columns, what they are, and where SAM's are claimed to be in wide networks.
COMPARED = {
  "num_pieces": ("number of linear pieces", BELOW, FUNCTIONS),
  "num_lines": ("number of lines", BELOW, FUNCTIONS),
  "bending": ("bending", BELOW, FUNCTIONS),
  "lambda_max": ("largest eigenvalue of the Hessian", BELOW, BASINS),
  "distance": ("distance from the initial weights", ABOVE, BASINS),
}
# What a smaller rho is to explain.
EXPLAINED = ("bending", "lambda_max")
PLANES = (10, 1000)  # Neurons of the networks whose planes are drawn.
OFFSETS = 41  # Along each axis of a plane.


def _shapes(*shapes: tuple[int, float, int]) -> grids.Shapes:
  """Returns networks by their neurons, learning rate and thousands of steps.

  There are 40 snapshots of each.
  """
  return {
    f"neurons{n}": {
      "num_neurons": (n,),
      "learning_rate": learning_rate,
      "num_train_steps": 1000 * thousands,
      "steps_per_call": min(25 * thousands, 10_000),
      "log_every_steps": 100 * thousands,
      "eval_every_epochs": 50 * thousands,
      "snapshot_every_epochs": 25 * thousands // 2,
    }
    for n, learning_rate, thousands in shapes
  }


_GRID = grids.Grid(
  "regression_1d",
  "final_test_loss",
  _shapes(*((n, 1.5e-4, 1000) for n in (5, 10, 100, 1000))),
  {"rho": (0.0, RHO), "seed": (0, 1, 2)},
)
_SEEDS = tuple(range(10))
presets = {
  "laptop": (
    _GRID.change(
      shapes=_shapes((5, 1.5e-3, 100), (10, 1.5e-3, 100)),
      sweep={"rho": (0.0, SMALL_RHO, RHO), "seed": _SEEDS},
    ),
    _GRID.change(
      shapes=_shapes((100, 7.5e-4, 200), (1000, 1.5e-4, 400)),
      sweep={"seed": _SEEDS},
    ),
  ),
  "paper": (_GRID,),
}


def measure(run: restored.Run) -> dict[str, Any]:
  params = run.weights["params"]
  w1, b1, w2 = (
    np.asarray(x, float).ravel()
    for x in (
      params["first"]["kernel"],
      params["first"]["bias"],
      params["second"]["kernel"],
    )
  )
  kinks, bends = polylines.find_kinks(w1, b1, w2, FIRST, LAST)
  corners = np.array([FIRST, *kinks, LAST])

  def function(x):
    return np.maximum(np.outer(x, w1) + b1, 0) @ w2

  point = objectives.point(run.config, run.objective())
  start = run.snapshots()[0].objective().weights
  values = measures.loss(point)
  return {
    "function": function(GRID).tolist(),
    "num_pieces": 1 + int(np.sum(np.abs(bends) > LEAST_BEND)),
    "num_lines": polylines.count_lines(corners, function(corners), LINE_ERROR),
    "bending": float(np.abs(bends).sum()),
    "distance": float(np.linalg.norm(point.w - start)),
    "training_loss": values.pop("loss"),
    **values,
    **measures.lambda_max(point),
    **(_plane(run) if run.config.rho == RHO and run.config.seed == 0 else {}),
  }


def _plane(run: restored.Run) -> dict[str, Any]:
  """Returns the plane through the start and both minima of a seed of SAM's.

  The paths of SGD and SAM are projected to it, in the units of the weights.
  """
  (base,) = (
    other
    for other in restored.load(run.folder)
    if other.config.rho == 0 and other.config.seed == run.config.seed
  )
  objective = run.objective()
  paths = {
    name: [objective.flatten(s.weights["params"]) for s in of.snapshots()]
    for name, of in (("sgd", base), ("sam", run))
  }
  plane = landscape.principal_plane(
    [paths["sgd"][0], paths["sgd"][-1], paths["sam"][-1]]
  )
  at = {
    name: landscape.project(path, plane.origin, plane.directions)
    for name, path in paths.items()
  }
  points = np.concatenate(list(at.values()))
  low, high = points.min(0), points.max(0)
  half = 0.65 * (high - low).max()
  middle = (low + high) / 2
  x, y = np.linspace(middle - half, middle + half, OFFSETS).T
  a, b = plane.directions
  losses = landscape.plane(objective, plane.origin, a, b, x, y)
  return {
    "plane_x": x.tolist(),
    "plane_y": y.tolist(),
    "plane_loss": losses.tolist(),
    **{f"plane_{name}": path.tolist() for name, path in at.items()},
  }


def _by_width(results: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
  """Returns the finished runs of every width, ascending."""
  runs = results[results["status"] == "finished"]
  groups = runs.groupby(runs["num_neurons"].astype(int))
  return [(int(n), part) for n, part in groups]


def _pairs(
  runs: pd.DataFrame, column: str, rho: float
) -> tuple[pd.Series, pd.Series]:
  """Returns a column of SGD and of SAM, of every width and seed with both."""
  keys = ["num_neurons", "seed"]
  table = runs.pivot(index=keys, columns="rho", values=column)
  table = table[[0.0, rho]].dropna()
  return table[0.0], table[rho]


def variance_ratio(runs: pd.DataFrame) -> statistics.Estimate:
  """Returns SAM's variance over seeds over that of SGD, of one width."""
  functions = [
    np.array(side.tolist()) for side in _pairs(runs, "function", RHO)
  ]

  def log_ratio(functions_Sx2xG):
    base, sam = functions_Sx2xG.var(0, ddof=1).mean(-1)
    return float(np.log(sam / base))

  return _ratio(
    log_ratio,
    np.stack(functions, 1),
    "ratio of SAM's variance over seeds to SGD's, jackknife over seeds",
  )


def paired_ratio(
  runs: pd.DataFrame, column: str, rho: float = RHO
) -> statistics.Estimate:
  """Returns the geometric mean of SAM's values over those of SGD."""
  base, sam = _pairs(runs, column, rho)
  logs = np.log(sam / base).unstack("num_neurons").dropna().mean(axis=1)
  return _ratio(
    lambda logs_S: float(np.mean(logs_S)),
    logs.to_numpy(float),
    "ratio of SAM to SGD, geometric mean over widths and seeds, paired",
  )


def _ratio(
  function: Callable[[np.ndarray], float], values: np.ndarray, statistic: str
) -> statistics.Estimate:
  """Returns the exponential of a logarithm and of its jackknife interval."""
  found = statistics.jackknife(function, values, statistic)
  value, low, high = map(math.exp, (found.value, found.low, found.high))
  return dataclasses.replace(
    found, value=value, low=low, high=high, is_ratio=True
  )


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  widths = _by_width(results)
  found = [
    _finding([n], VARIANCE, BELOW, FUNCTIONS, variance_ratio(runs))
    for n, runs in reversed(widths)
  ]
  for is_wide in (True, False):
    chosen = [(n, runs) for n, runs in widths if (n >= WIDE) == is_wide]
    if not chosen:
      continue
    neurons = [n for n, _ in chosen]
    runs = pd.concat(part for _, part in chosen)
    for column, about in COMPARED.items():
      found.append(_finding(neurons, *about, paired_ratio(runs, column)))
    if SMALL_RHO in set(runs["rho"]):
      for column in EXPLAINED:
        ratio = paired_ratio(runs, column, SMALL_RHO)
        finding = _finding(neurons, *COMPARED[column], ratio)
        text = f"why: rho {SMALL_RHO}, {finding['claim']}"
        found.append(finding | {"claim": text, "paper": "not in the paper"})
  return found


def _finding(
  neurons: Sequence[int],
  name: str,
  limits: tuple[float, float],
  paper: tuple[str, str],
  ratio: statistics.Estimate,
) -> findings.Finding:
  """Returns the finding of what is claimed of wide or of narrow networks."""
  is_narrow = max(neurons) < WIDE
  limits = SIMILAR if is_narrow else limits
  who = " and ".join(f"{n:,}" for n in neurons)
  return findings.within(
    f"{who} neurons: SAM's {name} is {LIMITS[limits]} SGD's",
    name,
    paper[is_narrow],
    ratio,
    above=limits[0],
    at_most=limits[1],
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  # The functions, and after every second width its plane.
  shown = []
  for n, runs in _by_width(results):
    shown.append(Panel(f"{n:,} neurons", _draw_functions, (runs,)))
    if n in PLANES:
      shown.append(Panel(f"{n:,} neurons, seed 0", _draw_plane, (runs,)))
  return panels.figure(*shown)


def _draw_functions(ax: Axes, runs: pd.DataFrame) -> None:
  sides = (("SGD", 0.0, figures.BASE), ("SAM", RHO, figures.SAM))
  for name, rho, color in sides:
    chosen = runs[runs["rho"] == rho]
    label = f"{name}: {chosen['num_lines'].mean():.0f} lines"
    ax.plot([], [], color=color, label=label)
    for function in chosen["function"]:
      ax.plot(GRID, function, color=color, alpha=0.55, linewidth=0.8)
  ax.plot(
    regression_1d.INPUTS,
    regression_1d.TARGETS,
    color="#0072B2",
    linestyle="none",
    marker="o",
    markersize=5,
    markeredgecolor="white",
    label="data",
    zorder=3,
  )
  # That of Figure 2, which cuts off what leaves it.
  ax.set_ylim(-2.2, 2.9)
  ax.set_xlabel("input")
  ax.set_ylabel("output")


def _draw_plane(ax: Axes, runs: pd.DataFrame) -> None:
  (row,) = runs[runs["plane_loss"].map(type).eq(list)].to_dict("records")
  landscapes.plane(
    ax,
    row["plane_x"],
    row["plane_y"],
    np.array(row["plane_loss"]),
    trajectories={
      "SGD": [np.array(row["plane_sgd"])],
      "SAM": [np.array(row["plane_sam"])],
    },
    names=("first component of the weights", "second component"),
  )


STUDY = Study(
  paper="Figures 2 and 3",
  claim=(
    "in wide networks SAM finds simple functions, which are much the same for"
    " every seed"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    (
      "function",
      "num_pieces",
      "num_lines",
      "bending",
      "distance",
      "training_loss",
      "lambda_max",
    ),
    seconds=0.15,
  ),
)
