"""Width: Shin et al. (UAI 2025), Figures 1 and 7, and their ViTs of Figure 5e.

Claim: the gain by SAM grows with the number of parameters; but in ViTs, which
lack inductive bias, it does not. Metric: test accuracy, mean average precision
of graphs, score of a game, or test loss for teacher and student, with rho
chosen for each size.

  laptop: final epoch, rho by the validation split.
    MLPs [w, w], w = 4 to 256, on digits, with and without 25 % label noise, 10
    seeds; ResNet-18 of 2 to 8 filters on digits with 25 % label noise, 25
    epochs, 3 seeds; students of 100 to 1,000 neurons, 60 epochs, 3 seeds, with
    clipped gradients at the paper's learning rate 0.1 and without clipping at
    0.005.
    At rho 0.01, 0.05 and 0.2, of the paper's grids: ViTs of 3 layers, width 8
    to 32, on digits with 25 % label noise, as the ResNets, 40 epochs, 3 seeds;
    Transformers, width 8 to 64, that tag 640 sentences of a hidden Markov
    model, 50 epochs, 3 seeds, and LSTMs, width 8 to 64, on 1,280 sentences with
    a lexicon, 30 epochs, 3 seeds, both without label noise, since so few
    sentences leave enough to gain; graph networks, width 8 to 64, on 1,000
    molecules with 25 % label noise, without which nothing is left to gain, 40
    epochs, 5 seeds.
  paper: MNIST, CIFAR-10 (ResNets and ViTs), ImageNet, part-of-speech tags,
    SST-2, molpcba, Breakout and ten students, 3 seeds. Best test epoch, but for
    the students' final loss; rho on the test set, as there. The test set of the
    tags, and that of SST-2, is what the paper calls validation.
  desktop: of the paper's, MNIST with 75-25, 150-50 and 300-100 neurons, 5
    seeds, and 1200-400, 3 seeds; its five rho and 100 epochs, but 5,000 of the
    60,000 images held out. Final epoch, rho by the validation split; the best
    test epoch stands beside it. Slopes are over the seeds that all sizes have.
    SST-2 with LSTMs of 32, 64 and 128, 3 seeds and its 30 epochs, but rho 0.02,
    0.05 and 0.1 and 5,000 of the 67,349 phrases held out, which overlap with
    those of the training split. Best test epoch, rho by the best validation
    epoch; the final one stands beside it.

`--workload=` chooses among them. That the gain of ViTs does not grow means: by
at most half of what it grows by in the ResNets on the same images with the same
label noise; where these are not in the table, not at all.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.study import Study

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(shapes=grids.widths(4, 8, 16, 32, 64, 128, 256)),
    grids.DIGITS_RESNET,
    grids.SMALL_TEACHER_STUDENT,
    grids.UNCLIPPED_TEACHER_STUDENT,
    grids.DIGITS_VIT,
    grids.HMM_TRANSFORMER,
    grids.LEXICON_LSTM,
    grids.MOTIFS_GCN,
  ),
  "paper": (
    grids.CIFAR_RESNET,
    grids.MNIST_MLP,
    *grids.IMAGENET_RESNETS,
    grids.TEACHER_STUDENT,
    grids.CIFAR_VIT,
    grids.POS_TRANSFORMER,
    grids.SST2_LSTM,
    grids.MOLPCBA_GCN,
    grids.BREAKOUT,
  ),
  "desktop": (*grids.DESKTOP_MNIST_MLPS, grids.DESKTOP_LSTM),
}


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  growth = findings.growth(results, "7")
  return growth + findings.no_growth_without_bias(results)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  return panels.growth(results, "7")


STUDY = Study(
  paper="Figures 1, 5e and 7",
  claim=(
    "SAM gains more the more parameters a network has, unless it lacks"
    " inductive bias"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
)
