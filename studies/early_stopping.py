"""Early stopping: after Shin et al. (UAI 2025), Figure 5d.

Claim: without early stopping the gain by SAM does not grow with the number of
parameters. It is the paper's, of part-of-speech tagging, which
`regularization.py` has; this study asks the same of other workloads, under
label noise. `stopping_epoch.py` says what is compared.

  laptop: MLPs [w, w], w = 4 to 128, on digits with 25, 50 and no label noise,
    10 seeds, evaluated every 2 epochs; rho by the validation split.
  paper: ResNet-18, 4 to 64 filters, on CIFAR-10 with the same noise, 3 seeds,
    evaluated every epoch. Nothing is held out, so the stopping epoch is the
    best test epoch and rho is chosen on the test set.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import figures
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import stopping_epoch

PAPER = "Figure 5d, of another workload"
CLAIM = (
  "without early stopping SAM's gain does not grow with the number of"
  " parameters"
)
RATES = (0.25, 0.5)

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.widths(4, 8, 16, 32, 64, 128),
      # Without noise nothing is memorized that early stopping would spare.
      sweep={"label_noise": (*RATES, 0.0)},
      fields={"eval_every_epochs": 2},
    ),
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      metric="final_test_accuracy",
      shapes=grids.resnets(4, 16, 32, 64),
      sweep={"label_noise": RATES},
    ),
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  return stopping_epoch.claim(findings.conditions(results))


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = findings.conditions(results)
  last = conditions[-1]
  titles = [f"gain, {findings.noise(c.label_noise)}" for c in conditions]
  fig, axes = figures.create(len(titles) + 1, [*titles, last.title])
  for ax, c in zip(axes, conditions, strict=False):
    stopping_epoch.draw_gains(ax, c)
  stopping_epoch.draw_accuracies(axes[-1], last)
  return fig
