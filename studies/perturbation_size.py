"""The size of the perturbation: Shin et al. (UAI 2025), Section 4.2.

The paper argues that at a fixed rho the perturbation has less effect in a
larger network, so that the best rho grows (Figures 4 and 8 to 10); it shows no
measurement. Claim: rho / ||w||, and the change of the gradient
||g_SAM - g|| / ||g||, fall with the number of parameters, at initialization and
at the end of training. Metric: their mean over training batches, each with its
own perturbation, in networks that SAM trained with this rho. Claims are about
the logarithm, averaged over the rho up to 0.2, with which all sizes train.

  laptop: MLPs [w, w], w = 8 to 256, on digits with 25 % label noise; 5 rho, 6
    seeds.
  paper: its LeNets on MNIST and ResNet-18s on CIFAR-10, with its rho, 3 seeds;
    the first 32 batches; BatchNorm by the statistics of the batch, as in
    training.

Beyond the paper: the rho that changes the gradient by a quarter, from a line
through the logarithms of change and rho, beside the best rho. And, since larger
networks fit more, the change when every size has the same training loss: in
the first snapshot with at most the entropy of the noisy labels given the clean
ones, so before wrong labels are fit.
"""

from collections.abc import Mapping
import itertools
import math

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import figures
from analysis import restored
from analysis import statistics
from sharpness import neighborhood
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study

STAGES = {
  "start": "at initialization",
  "equal": "at equal training loss",
  "half": "half-way",
  "end": "at the end",
}
CHANGE = "||g_SAM - g|| / ||g||"
LEVEL = 0.25
MAX_RHO = 0.2
NUM_BATCHES = 32


def _with_snapshots(
  grid: grids.Grid, num_epochs: int, num_snapshots: int
) -> grids.Grid:
  """Returns the grid without SGD, and with snapshots after initialization."""
  return grid.change(
    sweep={"rho": grid.sam_rhos},
    fields={
      "num_epochs": num_epochs,
      "snapshot_every_epochs": num_epochs // num_snapshots,
    },
  )


_LAPTOP = grids.DIGITS_MLP.change(
  shapes=grids.widths(8, 16, 32, 64, 128, 256),
  sweep={
    "label_noise": (0.25,),
    "rho": (0.02, 0.05, 0.1, 0.2, 0.5),
    "seed": tuple(range(6)),
  },
)
presets = {
  "laptop": (_with_snapshots(_LAPTOP, 100, 10),),
  "paper": (
    _with_snapshots(grids.MNIST_MLP, 100, 2),
    _with_snapshots(grids.CIFAR_RESNET, 200, 2),
  ),
}


def label_entropy(rate: float, num_classes: int = 10) -> float:
  """Returns the entropy of a label with symmetric noise, in nats.

  It is the training loss of a network that knows the clean labels and the
  rate, and has learned no wrong label by heart.
  """
  if rate in (0, 1):
    return rate * math.log(num_classes - 1)
  wrong = rate / (num_classes - 1)
  return -(1 - rate) * math.log(1 - rate) - rate * math.log(wrong)


def measure(run: restored.Run) -> dict[str, float]:
  batch_norm = "batch_stats" in run.weights["model_state"]
  snapshots = run.snapshots()
  at = {
    "start": snapshots[0],
    "half": snapshots[len(snapshots) // 2],
    "end": snapshots[-1],
  }
  if run.config.label_noise:
    entropy = label_entropy(run.config.label_noise)
    for snapshot in snapshots:
      objective = snapshot.objective(batch_statistics=batch_norm)
      if objective.value(objective.weights) <= entropy:
        at["equal"] = snapshot
        break
  numbers: dict[str, float] = {}
  for stage, snapshot in at.items():
    objective = snapshot.objective(batch_statistics=batch_norm)
    batches = objective.microbatches(run.config.batch_size)
    found = [
      neighborhood.gradient_change(batch, objective.weights, run.config.rho)
      for batch in itertools.islice(batches, NUM_BATCHES)
    ]
    change, cosine, perturbation = np.mean(found, axis=0)
    numbers |= {
      f"{stage}_change": float(change),
      f"{stage}_cosine": float(cosine),
      f"{stage}_perturbation": float(perturbation),
      f"{stage}_loss": float(objective.value(objective.weights)),
    }
  return numbers


def logarithms(runs: pd.DataFrame) -> pd.DataFrame:
  """Returns log2 of what was measured, a row for each seed and size.

  For every stage: 'STAGE_change' and 'STAGE_perturbation', averaged over the
  rho up to `MAX_RHO`, and 'STAGE_rho', which changes the gradient by `LEVEL`.
  They are NaN where a run has no such stage. A diverged run leaves its seed and
  size out.
  """
  runs = runs[runs["rho"] <= MAX_RHO]
  rows = []
  for (seed, size), part in runs.groupby(["seed", SIZE]):
    if (part["status"] != "finished").any():
      continue
    row = {"seed": seed, SIZE: size}
    log_rho = np.log2(part["rho"].to_numpy())
    for stage in STAGES:
      if f"{stage}_change" not in part:
        continue
      change = np.log2(part[f"{stage}_change"].to_numpy())
      perturbation = np.log2(part[f"{stage}_perturbation"].to_numpy())
      row[f"{stage}_change"] = change.mean()
      row[f"{stage}_perturbation"] = perturbation.mean()
      if np.isfinite(change).all():
        power, constant = np.polyfit(log_rho, change, 1)
        row[f"{stage}_rho"] = (np.log2(LEVEL) - constant) / power
    rows.append(row)
  names = [
    f"{s}_{n}" for s in STAGES for n in ("change", "perturbation", "rho")
  ]
  return pd.DataFrame(rows, columns=["seed", SIZE, *names], dtype=float)


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [f for c in conditions.of(results) for f in _claims(c)]


def _claims(c: conditions.Condition) -> list[findings.Finding]:
  table = logarithms(c.runs)
  level = f"the rho that changes the gradient by {100 * LEVEL:g} %"
  found = [
    *(
      findings.negative(
        f"{c.title}: {words} falls with size, {STAGES[stage]}",
        f"{stage}_{name}",
        "argued, not measured",
        _slope(table, f"{stage}_{name}", words),
      )
      for name, words in (("perturbation", "rho / ||w||"), ("change", CHANGE))
      for stage in ("start", "end")
    ),
    *(
      findings.positive(
        f"{c.title}: {level} grows with size, {STAGES[stage]}",
        f"{stage}_change",
        "not in the paper",
        _slope(table, f"{stage}_rho", level),
      )
      for stage in ("start", "end")
    ),
  ]
  if c.label_noise:
    # Of sizes of which every seed had such a loss.
    equal = table.groupby(SIZE).filter(
      lambda part: part["equal_change"].notna().all()
    )
    found.append(
      findings.negative(
        f"{c.title}: why: {CHANGE} falls with size {STAGES['equal']}, before"
        f" wrong labels are fit ({equal[SIZE].nunique()} sizes)",
        "equal_change",
        "not in the paper",
        _slope(equal, "equal_change", CHANGE),
      )
    )
  return found


def _slope(table: pd.DataFrame, y: str, name: str) -> statistics.Estimate:
  statistic = f"slope of log2 of {name} for each doubling of {SIZE}"
  return statistics.slope(table, SIZE, y, statistic)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = conditions.of(results)[0]
  titles = dict(STAGES)
  if main.label_noise:
    titles["equal"] += f", {label_entropy(main.label_noise):.2f}"
  else:
    del titles["equal"]
  fig = panels.figure(
    *(
      Panel(title, _draw_change, (main.runs, stage), "rho", 0, 0)
      for stage, title in titles.items()
      if stage != "half"
    ),
    Panel(
      f"rho that changes it by {100 * LEVEL:g} %", _draw_rho, (main, titles)
    ),
  )
  fig.suptitle(f"{main.title}: how much rho changes the gradient")
  return fig


def _draw_change(ax: Axes, runs: pd.DataFrame, stage: str) -> None:
  """Draws the change of the gradient against the size, by rho."""
  panels.draw_measured(ax, runs, f"{stage}_change", by="rho")
  figures.log_y_axis(ax, (0.03, 0.1, 0.3, 1, 3))
  ax.set_ylabel(CHANGE)


def _draw_rho(
  ax: Axes, c: conditions.Condition, titles: Mapping[str, str]
) -> None:
  """Draws the rho of an equal change, and the best rho, against the size."""
  table = logarithms(c.runs)
  for stage, color in zip(titles, figures.colors(list(titles)), strict=True):
    log = table.groupby(SIZE)[f"{stage}_rho"].agg(["mean", "sem"]).dropna()
    rho = 2 ** log["mean"]
    stderr = rho * math.log(2) * log["sem"]
    figures.curve(ax, log.index, rho, stderr, titles[stage], color)
  best = c.best_rho()
  figures.curve(
    ax, best[SIZE], best["rho"], None, "best rho", figures.BASE, dashed=True
  )
  figures.x_axis(ax, SIZE, best[SIZE])
  figures.log_y_axis(ax, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3))
  ax.set_ylabel("rho")


STUDY = Study(
  paper="Section 4.2",
  claim=(
    "at a fixed rho, SAM's perturbation changes the gradient less the more"
    " parameters there are"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    [
      f"{stage}_{name}"
      for stage in ("start", "half", "end")
      for name in ("change", "cosine", "perturbation", "loss")
    ],
    seconds=0.1,
  ),
)
