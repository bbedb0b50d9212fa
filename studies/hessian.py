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

from analysis import figures
from analysis import restored
from analysis import statistics
from sharpness import measures
from sharpness import moments
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import reference
from training import objectives

PAPER = "Figures 6a and 6b"
CLAIM = (
  "the larger rho, the flatter are SAM's minima and the more alike the Hessians"
  " of examples"
)
SIZE = findings.SIZE
NUM_EXAMPLES = 1000
MEASURE_SECONDS = 2.0
# Near zero is a twentieth of the loss of a network whose outputs are all 0; the
# same loss is one within this factor.
LOSS = 0.05
FACTOR = 2
# Column -> the paper's figure, and what `reference` calls it.
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


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


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

  Seeds of a size that lack a rho are left out.
  """
  finished = runs[runs["status"] == "finished"]
  table = finished.pivot(index=["seed", SIZE], columns="rho", values=name)
  return table.dropna().sort_index(axis=1)


def reductions(runs: pd.DataFrame, name: str) -> pd.DataFrame:
  """Returns what rho does to a measurement, a row for each seed and size.

  Columns: seed; the size; 'ratio', SGD's value over that at the largest rho;
  'percent', what that rho takes off, in percent of SGD's; 'log2_ratio' and
  'log2_sam', logarithms of the ratio and of the value there; and 'rank',
  Spearman's correlation of rho and the value.
  """
  table = by_rho(runs, name)
  sgd, sam = table.iloc[:, 0], table.iloc[:, -1]
  order = pd.Series(range(table.shape[1]), table.columns)
  columns = {
    "ratio": sgd / sam,
    "percent": 100 * (1 - sam / sgd),
    "log2_ratio": np.log2(sgd / sam),
    "log2_sam": np.log2(sam),
    "rank": table.rank(axis=1).T.corrwith(order),
  }
  return pd.DataFrame(columns).reset_index()


def claim(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  for c in findings.conditions(results):
    sam = f"SAM of rho {c.runs['rho'].max():g}"
    tables = {name: reductions(c.runs, name) for name in MEASURED}
    for name, table in tables.items():
      paper = _quote(name)
      percent = "decrease in % of SGD's, paired, mean over sizes"
      rank = "Spearman correlation, mean over sizes"
      text = f"{c.title}: {sam} has a smaller {name} than SGD"
      estimate = statistics.mean(table, "percent", percent)
      records.append(findings.positive(text, name, paper, estimate))
      text = f"{c.title}: {name} falls with rho"
      estimate = statistics.mean(table, "rank", rank)
      records.append(findings.negative(text, name, paper, estimate))
    paper = "not in the paper"
    slope = f"slope for each doubling of {SIZE}, log2 of"
    for name, table in tables.items():
      text = f"{c.title}: {name} with {sam} falls with size"
      estimate = statistics.slope(table, SIZE, "log2_sam", f"{slope} {name}")
      records.append(findings.negative(text, name, paper, estimate))
      text = f"{c.title}: {sam} divides {name} by more in a larger network"
      estimate = statistics.slope(
        table, SIZE, "log2_ratio", f"{slope} the ratio"
      )
      records.append(findings.positive(text, name, paper, estimate))
    records += _preconditions(c)
  return records


def _preconditions(condition: findings.Condition) -> list[findings.Record]:
  """Returns the records that training ends near zero loss, and at the same."""
  losses = by_rho(condition.runs, "training_loss")
  largest = losses.max(axis=1)
  ratio = largest / losses.min(axis=1)
  table = pd.DataFrame({"loss": largest, "ratio": ratio})
  table = table.groupby("seed").max().reset_index()
  records = []
  for text, y, limit, statistic in (
    ("ends near zero", "loss", LOSS, "largest of all sizes and rho"),
    ("is the same for all rho", "ratio", FACTOR, "largest over smallest"),
  ):
    estimate = statistics.mean(
      table, y, f"{statistic}; is so if at most {limit}"
    )
    records.append(
      statistics.claim_record(
        f"{condition.title}: precondition: the training loss {text}",
        "training_loss",
        "near zero",
        estimate,
        statistics.verdict(estimate, at_most=limit),
      )
    )
  return records


def _paper(name: str) -> pd.DataFrame:
  """Returns the paper's values: SGD's, then SAM's, with rho if it is stated."""
  number, metric = MEASURED[name]
  table = reference.load(number, "mnist_mlp")
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
  main = findings.conditions(results)[0]
  rho = f"rho {main.runs['rho'].max():g}"
  fig, (left, middle, right) = figures.create(
    3, ["sharpness", "non-uniformity", f"SGD's over that of SAM, {rho}"]
  )
  fig.suptitle(f"{main.title}, squared error, near zero training loss")
  for ax, name in ((left, "lambda_max"), (middle, "s_2")):
    figures.rho_curves(ax, main.runs, name)
    _draw_paper(ax, name)
    ax.set_ylabel(name)
  _draw_bound(left, main.runs)
  for ax in (left, middle):
    figures.log_y_axis(ax, (2, 3, 5, 10, 20, 30, 50))
    figures.legend(ax, "parameters")
  for name, color in zip(MEASURED, figures.CATEGORIES, strict=False):
    groups = reductions(main.runs, name).groupby(SIZE)["ratio"]
    mean, stderr = groups.mean(), groups.sem()
    figures.curve(right, mean.index, mean, stderr, name, color)
  figures.x_axis(right, SIZE, main.runs[SIZE])
  right.set_ylim(bottom=0)
  right.set_ylabel("ratio")
  figures.legend(right)
  return fig


def _draw_paper(ax: Axes, name: str) -> None:
  """Draws the paper's values into a panel of `figures.rho_curves`."""
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
