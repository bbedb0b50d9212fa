"""The best rho: Shin et al. (UAI 2025), Figures 4 and 8 to 10.

Claim: the best rho grows with the number of parameters. Metric: the rho with
the best accuracy, on average over the seeds.

  laptop: MLPs [w, w], w = 4 to 128, on digits, with and without 25 % label
    noise; 8 rho, 10 seeds. The best rho is that of the best validation
    accuracy, in the final epoch or, beside it, in the best one.
  paper: CIFAR-10, MNIST and ImageNet, 3 seeds. The best rho is that of the best
    test accuracy, in the best test epoch, as there, or in the final one.
  desktop: the cells of `width` on MNIST, of 75-25 to 1200-400 neurons, with
    5,000 images held out; the best rho as in laptop, over the seeds that all
    sizes have: 3, and 5 without the largest.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import reference

PAPER = "Figures 4 and 8 to 10"
CLAIM = "the best rho grows with the number of parameters"
# Workload of configs/ -> the paper's figure, and what `reference` calls it.
_PAPER = {
  "resnet_cifar": ("10", "cifar10_resnet18"),
  "mlp_mnist": ("8", "mnist_mlp"),
  "resnet_imagenet": ("9", "imagenet_resnet50"),
}

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.widths(4, 8, 16, 32, 64, 128),
      sweep={"rho": (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)},
    ),
  ),
  "paper": (grids.CIFAR_RESNET, grids.MNIST_MLP, *grids.IMAGENET_RESNETS),
  "desktop": grids.DESKTOP_MNIST_MLPS,
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  for c, metric in findings.cases(results):
    chosen_by = findings.choose_by(c.runs, metric)
    trend = statistics.rho_trend(c.runs, findings.SIZE, chosen_by)
    text, paper = f"{c.title}: {CLAIM}", _quote(c.workload)
    records.append(findings.positive(text, chosen_by, paper, trend))
  return records


def _quote(workload: str) -> str:
  """Returns what the paper found in the workload that is most alike."""
  workload = findings.nearest(workload)
  number, name = _PAPER[workload]
  table = reference.optimal_rho(number, name).sort_values(findings.SIZE)
  rhos = ", ".join(f"{rho:g}" for rho in table["rho"])
  first, last = (captions.number(table[findings.SIZE].iloc[i]) for i in (0, -1))
  return (
    f"Figure {number}, {findings.TITLES[workload]}: best rho {rhos} for"
    f" {first} to {last} parameters"
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = findings.conditions(results)
  fig, axes = figures.create(
    len(conditions) + 1, [*(c.title for c in conditions), "best rho"]
  )
  chosen, paper = [], []
  for ax, c in zip(axes, conditions, strict=False):
    figures.rho_curves(ax, c.runs, c.metric)
    figures.legend(ax, "parameters")
    chosen_by = findings.choose_by(c.runs, c.metric)
    best = statistics.optimal_rho(c.runs, [findings.SIZE], chosen_by)
    chosen.append(best.assign(condition=c.title))
    if c.workload in _PAPER:
      best = reference.optimal_rho(*_PAPER[c.workload])
      paper.append(best.assign(condition=c.title))
  figures.best_rho_curves(
    axes[-1],
    pd.concat(chosen),
    "condition",
    paper=pd.concat(paper) if paper else None,
  )
  figures.legend(axes[-1])
  return fig
