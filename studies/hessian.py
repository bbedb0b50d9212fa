"""Hessian: Shin et al. (UAI 2025), Section 6.1, Figures 6a and 6b.

Claim: the larger rho, the flatter are SAM's minima and the more alike the
Hessians H_i of single examples. Metric, of the training loss, a squared error,
where training ends: lambda_max, the largest eigenvalue of the mean H of the H_i
(the paper's sharpness a); and s_2, the root of the largest eigenvalue of the
mean of (H_i - H)^2 over 1,000 training examples. The precondition, a loss near
zero and about the same for every rho, is tested too.

  laptop: MLPs [w, w], w = 32, 72 and 160, on digits, each for as many epochs as
    it takes to a similar loss; the paper's rho, 5 seeds.
  paper: MLP [3000, 1000] on MNIST, as there, and two smaller ones; 3 seeds. The
    paper does not state its epochs: 100 here.
  desktop: as paper, with [1000, 300] for [3000, 1000].

As in the paper, the learning rate stays 0.1, without momentum or weight decay.
Beyond the paper: what happens with the number of parameters. The dotted line is
the bound a (1 + rho a) <= 2 / learning rate of Theorem 6.3. It is drawn and not
tested, being about another method, un-normalized SAM with one example a step.
"""

import dataclasses

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import curves
from analysis import figures
from analysis import restored
from analysis import statistics
from analysis import trends
from sharpness import measures
from sharpness import moments
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study
from training import objectives

NUM_EXAMPLES = 1000
# Near zero is a twentieth of the loss of a network whose outputs are all 0; the
# same loss is one within this factor.
LOSS = 0.05
FACTOR = 2
# Column -> the paper's figure, and what `reference` calls the metric.
MEASURED = {
  "lambda_max": ("6a", "sharpness_lambda_max"),
  "s_2": ("6b", "hessian_nonuniformity_s2"),
}

_DIGITS = grids.DIGITS_MLP.change(
  metric="lambda_max",
  shapes={
    f"width{w}": {"num_neurons": (w, w), "num_epochs": num_epochs}
    for w, num_epochs in ((32, 1000), (72, 500), (160, 300))
  },
  sweep={
    "label_noise": (0.0,),
    "rho": (0.0, 0.01, 0.02, 0.05, 0.1, 0.2),
    "seed": tuple(range(5)),
  },
  fields={
    "loss": "squared_error",
    "lr_scheduler": "constant",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "eval_every_epochs": 50,
    "log_every_steps": 450,
  },
)
_MNIST = dataclasses.replace(_DIGITS, workload="mlp_mnist").change(
  shapes=grids.mlps((75, 25), (300, 100), (3000, 1000)),
  sweep={"seed": (0, 1, 2)},
  fields={"num_epochs": 100, "eval_every_epochs": 10},
)
presets = {
  "laptop": (_DIGITS,),
  "paper": (_MNIST,),
  "desktop": (
    _MNIST.change(shapes=grids.mlps((75, 25), (300, 100), (1000, 300))),
  ),
}


def measure(run: restored.Run) -> dict[str, float]:
  point = objectives.point(run.config, run.objective())
  few = run.objective(num_examples=NUM_EXAMPLES)
  # Chunks that divide the batches leave one shape to compile.
  s_2 = moments.non_uniformity(few, few.weights, 2, chunk=50)
  return {
    "lambda_max": measures.lambda_max(point)["lambda_max"],
    "s_2": s_2.value,
    "training_loss": measures.loss(point)["loss"],
  }


def by_rho(runs: pd.DataFrame, name: str) -> pd.DataFrame:
  """Returns a measurement, a row for each seed and size, a column for each rho.

  Seeds of a size that lack a rho, as they diverged with it, are left out.
  """
  values = runs[name].where(runs["status"] == "finished").astype(float)
  table = runs.assign(**{name: values}).pivot(
    index=["seed", SIZE], columns="rho", values=name
  )
  return table.dropna().sort_index(axis=1)


def reductions(runs: pd.DataFrame, name: str) -> pd.DataFrame:
  """Returns what rho does to a measurement, a row for each seed and size.

  Columns: seed; the size; 'ratio', SGD's value over that at the largest rho;
  'percent', what that rho takes off, in percent of SGD's; 'log2_ratio' and
  'log2_sam', logarithms of the ratio and of the value there.
  """
  table = by_rho(runs, name)
  sgd, sam = table[0.0], table[runs["rho"].max()]
  columns = {
    "ratio": sgd / sam,
    "percent": 100 * (1 - sam / sgd),
    "log2_ratio": np.log2(sgd / sam),
    "log2_sam": np.log2(sam),
  }
  return pd.DataFrame(columns).reset_index()


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [f for c in conditions.of(results) for f in _claims(c)]


def _claims(c: conditions.Condition) -> list[findings.Finding]:
  sam = f"SAM of rho {c.runs['rho'].max():g}"
  tables = {name: reductions(c.runs, name) for name in MEASURED}
  slope = f"slope for each doubling of {SIZE}, log2 of"
  found = []
  for name, table in tables.items():
    found += [
      findings.positive(
        f"{c.title}: {sam} has a smaller {name} than SGD",
        name,
        _quote(name),
        statistics.mean(
          table, "percent", "decrease in % of SGD's, paired, mean over sizes"
        ),
      ),
      findings.negative(
        f"{c.title}: {name} falls with rho",
        name,
        _quote(name),
        trends.rank_trend(
          by_rho(c.runs, name),
          "Spearman correlation, mean over sizes, permutation test",
        ),
      ),
    ]
  for name, table in tables.items():
    found += [
      findings.negative(
        f"{c.title}: {name} with {sam} falls with size",
        name,
        "not in the paper",
        statistics.slope(table, SIZE, "log2_sam", f"{slope} {name}"),
      ),
      findings.positive(
        f"{c.title}: {sam} divides {name} by more in a larger network",
        name,
        "not in the paper",
        statistics.slope(table, SIZE, "log2_ratio", f"{slope} the ratio"),
      ),
    ]
  return found + _preconditions(c)


def _preconditions(c: conditions.Condition) -> list[findings.Finding]:
  """Returns the findings that training ends near zero loss, and at the same."""
  losses = by_rho(c.runs, "training_loss")
  largest = losses.max(axis=1)
  ratio = largest / losses.min(axis=1)
  table = pd.DataFrame({"loss": largest, "ratio": ratio})
  table = table.groupby("seed").max().reset_index()
  return [
    findings.within(
      f"{c.title}: precondition: the training loss {text}",
      "training_loss",
      "near zero",
      statistics.mean(table, y, f"{statistic}; is so if at most {limit}"),
      at_most=limit,
    )
    for text, y, limit, statistic in (
      ("ends near zero", "loss", LOSS, "largest of all sizes and rho"),
      ("is the same for all rho", "ratio", FACTOR, "largest over smallest"),
    )
  ]


def _paper(name: str) -> pd.DataFrame:
  """Returns the paper's values: SGD's, then SAM's, with rho if it is stated."""
  number, metric = MEASURED[name]
  table = reference.load(number, "mlp_mnist")
  return table[table["metric"] == metric]


def _quote(name: str) -> str:
  """Returns what the paper found, in words."""
  table = _paper(name)
  sgd, sam = table["value"].iloc[[0, -1]]
  rho = f" of rho {table['rho'].iloc[-1]:g}" if "rho" in table else ""
  return (
    f"Figure {MEASURED[name][0]}, MLP 3000-1000 on MNIST: SGD {sgd:.4g},"
    f" SAM{rho} {sam:.4g}, {100 * (1 - sam / sgd):.0f} % less"
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = conditions.of(results)[0]
  rho = f"rho {main.runs['rho'].max():g}"
  of_a, of_s = ((main.runs, name) for name in MEASURED)
  fig = panels.figure(
    Panel("sharpness", _draw_measured, of_a, "parameters"),
    Panel("non-uniformity", _draw_measured, of_s, "parameters"),
    Panel(f"SGD's over that of SAM, {rho}", _draw_ratios, (main.runs,)),
  )
  fig.suptitle(f"{main.title}, squared error, near zero training loss")
  return fig


def _draw_measured(ax: Axes, runs: pd.DataFrame, name: str) -> None:
  """Draws a measurement against rho."""
  curves.by_rho(ax, runs, name)
  _draw_paper(ax, name)
  ax.set_ylabel(name)
  if name == "lambda_max":
    _draw_bound(ax, runs)
  figures.log_y_axis(ax, (2, 3, 5, 10, 20, 30, 50))


def _draw_ratios(ax: Axes, runs: pd.DataFrame) -> None:
  """Draws by what the largest rho divides the measurements."""
  for name, color in zip(MEASURED, figures.CATEGORIES, strict=False):
    groups = reductions(runs, name).groupby(SIZE)["ratio"]
    mean, stderr = groups.mean(), groups.sem()
    figures.curve(ax, mean.index, mean, stderr, name, color)
  figures.x_axis(ax, SIZE, runs[SIZE])
  ax.set_ylim(bottom=0)
  ax.set_ylabel("ratio")


def _draw_paper(ax: Axes, name: str) -> None:
  """Draws the paper's values into a panel of `curves.by_rho`."""
  table = _paper(name)
  values, gray = table["value"], figures.PAPER
  if "rho" in table:
    # The panel has SGD at its first tick.
    at = table["rho"].where(table["rho"] > 0, ax.get_xticks()[0])
    figures.curve(
      ax, at, values, table["stderr"], "5.4M, paper", gray, dashed=True
    )
  else:
    ax.axhline(values.iloc[0], color=gray, ls="--", label="SGD, paper")
    ax.axhline(values.iloc[1], color=gray, ls="-.", label="SAM, paper")


def _draw_bound(ax: Axes, runs: pd.DataFrame) -> None:
  """Draws the bound on lambda_max of Theorem 6.3."""
  rhos = np.unique(runs["rho"])
  at = np.where(rhos > 0, rhos, ax.get_xticks()[0])
  eta = runs["learning_rate"].iloc[0]
  bounds = [moments.stability_bounds(eta, rho).a for rho in rhos]
  ax.plot(at, bounds, color="0.3", linestyle=":", label="Theorem 6.3")


STUDY = Study(
  paper="Figures 6a and 6b",
  claim=(
    "the larger rho, the flatter are SAM's minima and the more alike the"
    " Hessians of examples"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    ("lambda_max", "s_2", "training_loss"),
    seconds=2.0,
  ),
)
