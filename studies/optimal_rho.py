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
from analysis import curves
from analysis import trends
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Study

CLAIM = "the best rho grows with the number of parameters"

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


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  found = []
  for c, metric in conditions.with_metrics(results):
    chosen_by = c.chosen_by(metric)
    trend = trends.rho_trend(c.runs, SIZE, chosen_by)
    text, paper = f"{c.title}: {CLAIM}", _quote(c.workload)
    found.append(findings.positive(text, chosen_by, paper, trend))
  return found


def _quote(workload: str) -> str:
  """Returns what the paper found in the workload that is most alike."""
  workload = workloads.nearest(workload)
  about = workloads.TABLE[workload]
  table = reference.optimal_rho(workload).sort_values(SIZE)
  rhos = ", ".join(f"{rho:g}" for rho in table["rho"])
  first, last = (captions.number(table[SIZE].iloc[i]) for i in (0, -1))
  return (
    f"Figure {about.rho_figure}, {about.title}: best rho {rhos} for"
    f" {first} to {last} parameters"
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  found = conditions.of(results)
  best = [c.best_rho().assign(condition=c.title) for c in found]
  papers = [
    reference.optimal_rho(c.workload).assign(condition=c.title)
    for c in found
    if workloads.TABLE[c.workload].rho_figure
  ]
  paper = pd.concat(papers) if papers else None
  return panels.figure(
    *(
      Panel(c.title, curves.by_rho, (c.runs, c.metric), "parameters")
      for c in found
    ),
    Panel(
      "best rho", curves.best_rho, (pd.concat(best), "condition", SIZE, paper)
    ),
  )


STUDY = Study(
  paper="Figures 4 and 8 to 10",
  claim=CLAIM,
  presets=presets,
  claims=claims,
  figure=figure,
)
