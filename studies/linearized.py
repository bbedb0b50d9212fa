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
paper preset, as the paper chooses, on the test set. There is no weight decay,
which would pull the weights away from w0.
"""

import jax.numpy as jnp
from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import figures
from analysis import restored
from analysis import statistics
from sharpness import linearized
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference

PAPER = "Figure 19"
CLAIM = "where a network is linear in its weights, SAM is worse than SGD"
ALPHA = "lazy_alpha"
STABILITY = "activation_stability"
DISTANCE = "tangent_distance"
# 'Not worse' is at most so many points worse: two of 360 test images.
MARGIN = 0.5
# 'Near 1' and 'linear' are at most so far from 1 and from the tangent model.
NEAR = 0.05
MEASURE_SECONDS = 0.1

_SWEEP = {"rho": (0.0, 0.001, 0.01, 0.02)}
_SHAPES = {f"alpha{a}": {ALPHA: float(a)} for a in (1, 10, 100, 1000)}

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
    grids.Grid(
      "vgg_cifar",
      "best_test_accuracy",
      _SHAPES,
      {**_SWEEP, "learning_rate": (0.003, 0.01, 0.03), "seed": (0, 1, 2)},
    ),
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


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


def tuned(condition: findings.Condition) -> pd.DataFrame:
  """Returns the runs at the best learning rate of each alpha and rho."""
  runs = condition.runs
  by = findings.choose_by(runs, condition.metric)
  best = statistics.choose(runs, [ALPHA, "rho"], "learning_rate", by)
  return runs.merge(best[[ALPHA, "rho", "learning_rate"]])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  (condition,) = findings.conditions(results)
  metric, runs = condition.metric, tuned(condition)
  first, last = (f(runs[ALPHA]) for f in (min, max))
  lazy = runs[runs[ALPHA] == last]
  rhos = sorted(set(runs["rho"]) - {0.0})
  sgd, sam = lazy[lazy["rho"] == 0], lazy[lazy["rho"] > 0]
  at_first, at_last = (f"{condition.title}, alpha {a:g}" for a in (first, last))
  accuracy, stability = (_quote(y) for y in ("test_accuracy", STABILITY))

  def gains(alpha: float, *rhos: float) -> pd.DataFrame:
    chosen = runs[(runs[ALPHA] == alpha) & runs["rho"].isin((0.0, *rhos))]
    return findings.gains(chosen, [ALPHA], metric)

  not_worse = statistics.mean_gain(gains(first, *rhos))
  unstable = sgd.assign(unstable=1 - sgd[STABILITY])
  near = statistics.mean(unstable, "unstable", "1 - stability, mean over seeds")
  linear = statistics.mean(sgd, DISTANCE)
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
    statistics.claim_record(
      f"{at_first}: SAM at its best rho is not worse than SGD by more than"
      f" {MARGIN:g} points",
      metric,
      accuracy,
      not_worse,
      statistics.verdict(not_worse, above=-MARGIN),
    ),
    findings.positive(
      f"{condition.title}: trained by SGD, activations are the more stable the"
      " larger alpha",
      STABILITY,
      stability,
      statistics.slope(runs[runs["rho"] == 0], ALPHA, STABILITY),
    ),
    statistics.claim_record(
      f"{at_last}: trained by SGD, at most {100 * NEAR:g} % of the activations"
      " change",
      STABILITY,
      stability,
      near,
      statistics.verdict(near, at_most=NEAR),
    ),
    findings.positive(
      f"{at_last}: trained by SAM, more of them change, on average over rho",
      STABILITY,
      stability,
      statistics.difference(
        sgd, sam, STABILITY, "difference of the stability, paired over seeds"
      ),
    ),
    statistics.claim_record(
      f"{at_last}: the network trained by SGD is linear: its outputs are within"
      f" {100 * NEAR:g} % of those of the tangent model",
      DISTANCE,
      "not reported",
      linear,
      statistics.verdict(linear, at_most=NEAR),
    ),
  ]


def _paper(metric: str) -> pd.DataFrame:
  table = reference.load("19", "cifar10_vgg11")
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
  (condition,) = findings.conditions(results)
  metric, runs = condition.metric, tuned(condition)
  runs = runs.assign(**{metric: statistics.scale(metric) * runs[metric]})
  ours, paper = condition.title, "paper: VGG-11 on CIFAR-10"
  titles = [ours, paper, "how far weights move", ours, paper, "how linear"]
  fig, axes = figures.create(len(titles), titles)
  columns = [metric, STABILITY, "weight_change", DISTANCE]
  words = ["test accuracy (%)", "stability of activations", "||w - w0||"]
  words += ["relative distance\nfrom the tangent model"]
  for i, column, label in zip((0, 3, 2, 5), columns, words, strict=True):
    panels.measured_curves(axes[i], runs, column, by="rho", x=ALPHA)
    axes[i].set_ylabel(label)
  for i, column in ((1, "test_accuracy"), (4, STABILITY)):
    axes[i].sharey(axes[i - 1])
    table = _paper(column).assign(seed=0)
    panels.measured_curves(axes[i], table, "value", by="rho", x=ALPHA)
    axes[i].set_ylabel(axes[i - 1].get_ylabel())
  for i in (2, 5):
    figures.log_y_axis(axes[i], (0.001, 0.01, 0.1, 1, 10))
  for ax in axes:
    ax.set_xlabel("alpha")
    figures.legend(ax, "rho (0: SGD)")
  return fig
