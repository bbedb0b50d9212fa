"""Width: Shin et al. (UAI 2025), Figures 1 and 7.

Claim: the gain by SAM grows with the number of parameters. Metric: test
accuracy, or test loss for teacher and student, with rho chosen for each size.

  laptop: final epoch, rho by the validation split. MLPs [w, w], w = 4 to 256,
    on digits, with and without 25 % label noise, 10 seeds; ResNet-18 of 2 to 8
    filters on digits with 25 % label noise, 25 epochs, 3 seeds; students of 100
    to 1,000 neurons, 60 epochs, 3 seeds, with clipped gradients at the paper's
    learning rate 0.1 and without clipping at 0.005.
  paper: MNIST, CIFAR-10, ImageNet and ten students, 3 seeds. Best test epoch,
    but for the students' final loss; rho on the test set, as there.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from studies import cells as cells_lib
from studies import findings
from studies import grids
from studies import panels

PAPER = "Figures 1 and 7"
CLAIM = "SAM gains more the more parameters a network has"

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(shapes=grids.widths(4, 8, 16, 32, 64, 128, 256)),
    grids.DIGITS_RESNET,
    grids.SMALL_TEACHER_STUDENT,
    grids.UNCLIPPED_TEACHER_STUDENT,
  ),
  "paper": (
    grids.CIFAR_RESNET,
    grids.MNIST_MLP,
    *grids.IMAGENET_RESNETS,
    grids.TEACHER_STUDENT,
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  return findings.claim_growth(results, "7")


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  return panels.growth_figure(results, "7")
