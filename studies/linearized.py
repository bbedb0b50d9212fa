"""Linearized networks: Shin et al. (UAI 2025), Appendix E, Figure 19.

A network that is centred at its initial weights, f(w) - f(w0), and trained by
the squared error on targets divided by alpha, is the more like its tangent
model at w0 the larger alpha (Chizat et al., 2019). Claim: there SAM is worse
than SGD, and the more so the larger rho. Metric: test accuracy; the stability
of activations, the share of ReLUs that are as on or as off after training as at
w0; and, beyond the paper, the distance of the outputs from those of the tangent
model with the same weights, relative to the outputs. The last two are those of
the training set.

  laptop: MLP [64, 64] on digits, alpha 1 to 1,000, the paper's rho, 3 learning
    rates, 10 seeds.
  paper: VGG-11 on CIFAR-10, the same alpha, rho and number of learning rates, 3
    seeds.

The paper states no learning rate. In the linear regime none has to follow
alpha: the gradient and the way to go both shrink like 1 / alpha, and the
curvature stays. But elsewhere another one may be better, and a smaller one
spares SAM, whose perturbation does not shrink with alpha. So the learning rate
is chosen for each alpha and rho as rho is: on the validation split, or in the
paper preset, as the paper chooses, on the test set; where gains are tested, on
the other seeds. There is no weight decay,
which would pull the weights away from w0.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import figures
from analysis import restored
from analysis import selection
from analysis import statistics
from sharpness import linearized
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study

ALPHA = "lazy_alpha"
STABILITY = "activation_stability"
DISTANCE = "tangent_distance"
# 'Not worse' is at most so many points worse: two of 360 test images.
MARGIN = 0.5
# 'Near 1' and 'linear' are at most so far from 1 and from the tangent model.
NEAR = 0.05

_SWEEP = {"rho": (0.0, 0.001, 0.01, 0.02)}
_SHAPES = {f"alpha{a}": {ALPHA: float(a)} for a in (1, 10, 100, 1000)}
_VGG = grids.Grid(
  "vgg_cifar", "best_test_accuracy", {}, {**_SWEEP, "seed": (0, 1, 2)}
)

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=_SHAPES,
      sweep={
        **_SWEEP,
        "label_noise": (),
        "learning_rate": (0.005, 0.02, 0.1),
      },
      fields={
        "num_neurons": (64, 64),
        "loss": "squared_error",
        "weight_decay": 0.0,
      },
    ),
  ),
  "paper": (
    # Clipping does not bound the gradients of large alpha.
    *(
      _VGG.change(
        shapes={name: _SHAPES[name] for name in names},
        sweep={"learning_rate": rates},
      )
      for names, rates in (
        (("alpha1", "alpha10"), (0.003, 0.01, 0.03)),
        (("alpha100", "alpha1000"), (1e-6, 1e-5, 1e-4)),
      )
    ),
  ),
}


def measure(run: restored.Run) -> dict[str, float]:
  objective = run.objective()
  w = objective.weights
  w0 = objective.flatten(run.weights["model_state"]["initial"])
  outputs = objective.outputs(w)
  gap = outputs - linearized.linearized(objective, w0).outputs(w)
  return {
    STABILITY: linearized.activation_stability(objective, w0, w),
    DISTANCE: float(jnp.linalg.norm(gap) / jnp.linalg.norm(outputs)),
    "weight_change": float(jnp.linalg.norm(w - w0)),
  }


def tuned(condition: conditions.Condition) -> pd.DataFrame:
  """Returns the runs at the best learning rate of each alpha and rho."""
  runs, by = condition.runs, condition.chosen_by()
  best = selection.choose(runs, [ALPHA, "rho"], ["learning_rate"], by)
  return runs.merge(best[[ALPHA, "rho", "learning_rate"]])


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  (condition,) = conditions.of(results)
  title, metric, runs = condition.title, condition.metric, tuned(condition)
  first, last = runs[ALPHA].min(), runs[ALPHA].max()
  rhos = sorted(set(condition.runs["rho"]) - {0.0})
  lazy = runs[runs[ALPHA] == last]
  sgd, sam = lazy[lazy["rho"] == 0], lazy[lazy["rho"] > 0]
  at_first, at_last = (f"{title}, alpha {a:g}" for a in (first, last))
  accuracy, stability = (_quote(y) for y in ("test_accuracy", STABILITY))

  def gains(alpha: float, *rhos: float) -> pd.DataFrame:
    chosen = condition.only(ALPHA, alpha).only("rho", 0.0, *rhos).runs
    return conditions.gains(chosen, [ALPHA], metric, ("learning_rate", "rho"))

  return [
    findings.negative(
      f"{at_last}: SAM at its best rho is worse than SGD",
      metric,
      accuracy,
      statistics.mean_gain(gains(last, *rhos)),
    ),
    findings.negative(
      f"{at_last}: SAM of rho {rhos[-1]:g} is worse than of rho {rhos[0]:g}",
      metric,
      accuracy,
      statistics.difference(gains(last, rhos[-1]), gains(last, rhos[0])),
    ),
    findings.within(
      f"{at_first}: SAM at its best rho is not worse than SGD by more than"
      f" {MARGIN:g} points",
      metric,
      accuracy,
      statistics.mean_gain(gains(first, *rhos)),
      above=-MARGIN,
    ),
    findings.positive(
      f"{title}: trained by SGD, activations are the more stable the larger"
      " alpha",
      STABILITY,
      stability,
      statistics.slope(runs[runs["rho"] == 0], ALPHA, STABILITY),
    ),
    findings.within(
      f"{at_last}: trained by SGD, at most {100 * NEAR:g} % of the activations"
      " change",
      STABILITY,
      stability,
      statistics.mean(
        sgd.assign(unstable=1 - sgd[STABILITY]),
        "unstable",
        "1 - stability, mean over seeds",
      ),
      at_most=NEAR,
    ),
    findings.positive(
      f"{at_last}: trained by SAM, more of them change, on average over rho",
      STABILITY,
      stability,
      statistics.difference(
        sgd, sam, STABILITY, "difference of the stability, paired over seeds"
      ),
    ),
    findings.within(
      f"{at_last}: the network trained by SGD is linear: its outputs are within"
      f" {100 * NEAR:g} % of those of the tangent model",
      DISTANCE,
      "not reported",
      statistics.mean(sgd, DISTANCE),
      at_most=NEAR,
    ),
  ]


def _paper(metric: str) -> pd.DataFrame:
  table = reference.load("19", "vgg_cifar")
  table = table[table["metric"] == metric]
  return table.rename(columns={"alpha": ALPHA})


def _quote(metric: str) -> str:
  """Returns the ends of the paper's curves, in words."""
  found = []
  for rho, part in _paper(metric).groupby("rho"):
    ends = part.sort_values(ALPHA)["value"].iloc[[0, -1]]
    name = f"SAM {rho:g}" if rho else "SGD"
    found.append(f"{name} {' to '.join(f'{x:g}' for x in ends)}")
  return f"Figure 19, VGG-11 on CIFAR-10, alpha 1 to 1000: {', '.join(found)}"


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  (condition,) = conditions.of(results)
  metric, runs = condition.metric, tuned(condition)
  runs = runs.assign(**{metric: selection.scale(metric) * runs[metric]})

  accuracy, stability = "test accuracy (%)", "stability of activations"
  papers, legend = "paper: VGG-11 on CIFAR-10", "rho (0: SGD)"
  distance = "relative distance\nfrom the tangent model"
  ticks = (0.001, 0.01, 0.1, 1, 10)
  return panels.figure(
    Panel(condition.title, _draw, (runs, metric, accuracy), legend),
    Panel(
      papers,
      _draw,
      (_paper("test_accuracy"), "value", accuracy),
      legend,
      share_y=0,
    ),
    Panel(
      "how far weights move",
      _draw,
      (runs, "weight_change", "||w - w0||", ticks),
      legend,
    ),
    Panel(condition.title, _draw, (runs, STABILITY, stability), legend),
    Panel(
      papers, _draw, (_paper(STABILITY), "value", stability), legend, share_y=3
    ),
    Panel("how linear", _draw, (runs, DISTANCE, distance, ticks), legend),
  )


def _draw(
  ax: Axes,
  table: pd.DataFrame,
  column: str,
  label: str,
  ticks: Sequence[float] = (),
) -> None:
  """Draws a column against alpha; where there are ticks, on a log axis."""
  panels.draw_measured(ax, table, column, by="rho", x=ALPHA)
  if ticks:
    figures.log_y_axis(ax, ticks)
  ax.set_xlabel("alpha")
  ax.set_ylabel(label)


STUDY = Study(
  paper="Figure 19",
  claim="where a network is linear in its weights, SAM is worse than SGD",
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    (STABILITY, DISTANCE, "weight_change"),
    seconds=0.01,
  ),
)
