"""Sparsity: Shin et al. (UAI 2025), Figures 5b, 13 and 14.

Claim: of networks with equally many weights, SAM gains more in a large one that
was pruned at initialization than in a small dense one. Metric: test accuracy,
with rho chosen for each network.

  laptop: the MLP [32, 32] on digits against [64, 64] and [128, 128], pruned by
    SNIP and at random, with and without 25 % label noise, 10 seeds; final
    epoch, rho by the validation split.
  paper: CIFAR-10 (ResNet-18, 16 filters, against 24, 32 and 64) and MNIST
    (75-25 neurons against up to 1200-400), 3 seeds; best test epoch, rho on the
    test set, as there.
  desktop: of the paper's, MNIST with its five rho, 100 epochs and 3 seeds, but
    5,000 of the 60,000 images held out; final epoch, rho by the validation
    split.

Biases and BatchNorm are never pruned. So sparsities, which count weights of
kernels, are such that all parameters that are left are as many.
"""

from collections.abc import Sequence
import dataclasses
import types

import jax
import jax.numpy as jnp
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import curves
from analysis import figures
from analysis import statistics
import models
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import workloads
from studies.kit.panels import Panel
from studies.kit.study import Study
from studies.kit.study import TrainedCell

CLAIM = "of equally many weights, SAM gains more in a large, sparse network"
PRUNERS = {"snip": "SNIP", "random": "random pruning"}


@dataclasses.dataclass(frozen=True)
class Pruned:
  """A grid whose first shape is dense; the others are pruned to its size."""

  grid: grids.Grid

  def cells(self) -> Sequence[TrainedCell]:
    workload = self.grid.workload
    (dense, first), *others = self.grid.shapes.items()
    target = sum(count_weights(workload, first))
    shapes = {dense: first}
    for name, shape in others:
      prunable, kept = count_weights(workload, shape)
      sparsity = round(1 - (target - kept) / prunable, 6)
      for pruner in PRUNERS:
        pruned = {"pruner": pruner, "sparsity": sparsity}
        shapes[f"{name}-{pruner}"] = {**shape, **pruned}
    return self.grid.change(shapes=shapes).cells()


def count_weights(workload: str, fields: grids.Fields) -> tuple[int, int]:
  """Returns the number of weights of kernels, and of other parameters."""
  config = grids.create_config(workload, {}, fields)
  model = models.create(config, types.SimpleNamespace(num_outputs=10))
  shape = workloads.TABLE[workload].image_shape
  images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
  counts = [0, 0]
  for path, leaf in jax.tree_util.tree_leaves_with_path(params["params"]):
    counts[path[-1].key != "kernel"] += leaf.size
  return counts[0], counts[1]


_MNIST_SHAPES = grids.mlps((75, 25), (150, 50), (300, 100), (1200, 400))
presets = {
  "laptop": (
    Pruned(grids.DIGITS_MLP.change(shapes=grids.widths(32, 64, 128))),
  ),
  "paper": (
    Pruned(grids.CIFAR_RESNET.change(shapes=grids.resnets(16, 24, 32, 64))),
    Pruned(grids.MNIST_MLP.change(shapes=_MNIST_SHAPES)),
  ),
  "desktop": (Pruned(grids.DESKTOP_MLP.change(shapes=_MNIST_SHAPES)),),
}


def _gains(
  c: conditions.Condition, pruner: str, metric: str = ""
) -> pd.DataFrame:
  """Returns the gains of the dense network and those of one pruner."""
  return c.only("pruner", pruner, "none").gains(metric, "sparsity")


def _ends(
  c: conditions.Condition, pruner: str, metric: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
  """Returns the gains of the sparsest network and of the dense one."""
  gains = _gains(c, pruner, metric)
  sparsity = gains["sparsity"]
  return gains[sparsity == sparsity.max()], gains[sparsity == 0]


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [
    *(
      findings.positive(
        f"{c.title}, {words}: {CLAIM}",
        metric,
        _quote(c.workload, pruner),
        statistics.difference(*_ends(c, pruner, metric)),
      )
      for c, metric in conditions.with_metrics(results)
      for pruner, words in PRUNERS.items()
    ),
    # Where SAM gains less in the sparse network, there is less to gain.
    *(
      findings.fits_less(
        f"{c.title}, {words}: SGD fits fewer of the (noisy) training labels in"
        " the large, sparse network",
        *_ends(c, pruner, conditions.FIT),
      )
      for c in conditions.of(results)
      if c.label_noise
      for pruner, words in PRUNERS.items()
    ),
  ]


def _quote(workload: str, pruner: str) -> str:
  """Returns what the paper found in the workload that is most alike."""
  papers = workloads.TABLE[workloads.nearest(workload)]
  return reference.quote_gain(
    papers.pruner_figures[pruner], workload, x="sparsity"
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  found = conditions.of(results)
  return panels.figure(*(Panel(c.title, _draw, (c,)) for c in found))


def _draw(ax: Axes, c: conditions.Condition) -> None:
  """Draws the gain against the sparsity, one curve for each pruner."""
  tables = [
    statistics.summary(_gains(c, pruner), ["sparsity"]).assign(pruner=words)
    for pruner, words in PRUNERS.items()
  ]
  # Rounded for the labels of the axis.
  table = pd.concat(tables).round({"sparsity": 2})
  curves.gains(ax, table, c.metric, "sparsity", by="pruner")
  numbers = workloads.TABLE[c.workload].pruner_figures
  names = sorted(numbers, key=PRUNERS.__getitem__)
  for pruner, color in zip(names, figures.colors(names), strict=True):
    label, number = f"{PRUNERS[pruner]}, paper", numbers[pruner]
    panels.draw_papers_gain(ax, number, c.workload, label, color, "sparsity")


STUDY = Study(
  paper="Figures 5b, 13 and 14",
  claim=CLAIM,
  presets=presets,
  claims=claims,
  figure=figure,
)
