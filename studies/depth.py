"""Depth: Shin et al. (UAI 2025), Figure 17.

Claim: at a fixed width, the gain by SAM grows with the number of layers, and so
of parameters; that of ResNets on CIFAR-10 does not. Metric: test accuracy, with
rho chosen for each depth.

  laptop: MLPs of 1 to 4 hidden layers of 64 neurons on digits, with and without
    25 % label noise, 10 seeds; final epoch, rho by the validation split.
  paper: MLPs of 1 to 3 hidden layers of 1,000 neurons on MNIST; ResNet-18 of
    64 filters with 1, 2 and 8 blocks in each stage on CIFAR-10; 3 seeds; best
    test epoch, rho on the test set.
  desktop: of the paper's, MNIST, with rho 0.1 and 0.2, 50 epochs instead of 100
    and 5,000 of the 60,000 images held out; 3 seeds; final epoch, rho by the
    validation split.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.study import Study

_MNIST_SHAPES = grids.mlps(*((1000,) * layers for layers in (1, 2, 3)))
presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.mlps(*((64,) * layers for layers in (1, 2, 3, 4)))
    ),
  ),
  "paper": (
    grids.MNIST_MLP.change(shapes=_MNIST_SHAPES),
    grids.CIFAR_RESNET.change(
      shapes={
        f"blocks{n}": {"num_filters": 64, "blocks_per_stage": n}
        for n in (1, 2, 8)
      }
    ),
  ),
  "desktop": (
    grids.DESKTOP_MLP.change(
      shapes=_MNIST_SHAPES,
      sweep={"rho": (0.0, 0.1, 0.2)},
      fields={"num_epochs": 50},
    ),
  ),
}


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  is_resnet = results["workload"] == "resnet_cifar"
  return [
    *findings.growth(results[~is_resnet], "17"),
    *(
      findings.does_not_grow(
        f"{c.title}: the gain does not grow with the number of blocks",
        metric,
        reference.quote_gain("17", c.workload),
        c.gains(metric),
        None,
      )
      for c, metric in conditions.with_metrics(results[is_resnet])
    ),
  ]


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  return panels.growth(results, "17")


STUDY = Study(
  paper="Figure 17",
  claim="SAM gains more the deeper a network is",
  presets=presets,
  claims=claims,
  figure=figure,
)
