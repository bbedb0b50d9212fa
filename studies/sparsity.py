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
  desktop: of the paper's, MNIST with its six rho, 100 epochs and 3 seeds, but
    5,000 of the 60,000 images held out; final epoch, rho by the validation
    split.

Biases and BatchNorm are never pruned. So sparsities, which count weights of
kernels, are such that all parameters that are left are as many.
"""

import types

import jax
import jax.numpy as jnp
from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import figures
from analysis import statistics
import models
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels

PAPER = "Figures 5b, 13 and 14"
CLAIM = "of equally many weights, SAM gains more in a large, sparse network"
PRUNERS = {"snip": "SNIP", "random": "random pruning"}
_INPUT_SHAPES = {
  "mlp_digits": (8, 8, 1),
  "mlp_mnist": (28, 28, 1),
  "resnet_cifar": (32, 32, 3),
}
# The paper's figure for each pruner.
_PAPER = {
  "resnet_cifar": {"snip": "13b", "random": "13a"},
  "mlp_mnist": {"snip": "14b", "random": "14a"},
}

_MNIST_SHAPES = grids.mlps((75, 25), (150, 50), (300, 100), (1200, 400))
# Of every grid, the first shape is dense; the others are pruned to its size.
presets = {
  "laptop": (grids.DIGITS_MLP.change(shapes=grids.widths(32, 64, 128)),),
  "paper": (
    grids.CIFAR_RESNET.change(shapes=grids.resnets(16, 24, 32, 64)),
    grids.MNIST_MLP.change(shapes=_MNIST_SHAPES),
  ),
  "desktop": (grids.DESKTOP_MLP.change(shapes=_MNIST_SHAPES),),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(_prune(grid) for grid in presets[preset])


def _prune(grid: grids.Grid) -> grids.Grid:
  (dense, first), *others = grid.shapes.items()
  target = sum(count_weights(grid.workload, first))
  shapes = {dense: first}
  for name, shape in others:
    prunable, kept = count_weights(grid.workload, shape)
    sparsity = round(1 - (target - kept) / prunable, 6)
    for pruner in PRUNERS:
      pruned = {"pruner": pruner, "sparsity": sparsity}
      shapes[f"{name}-{pruner}"] = {**shape, **pruned}
  return grid.change(shapes=shapes)


def count_weights(workload: str, fields: grids.Fields) -> tuple[int, int]:
  """Returns the number of weights of kernels, and of other parameters."""
  config = cells_lib.create("", workload, sweep={}, fields=fields).config
  model = models.create(config, types.SimpleNamespace(num_outputs=10))
  images = jax.ShapeDtypeStruct((1, *_INPUT_SHAPES[workload]), jnp.float32)
  params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
  counts = [0, 0]
  for path, leaf in jax.tree_util.tree_leaves_with_path(params["params"]):
    counts[path[-1].key != "kernel"] += leaf.size
  return counts[0], counts[1]


def _gains(runs: pd.DataFrame, pruner: str, metric: str) -> pd.DataFrame:
  """Returns the gains of the dense network and those of one pruner."""
  runs = runs[runs["pruner"].isin((pruner, "none"))]
  return findings.gains(runs, ["sparsity"], metric)


def claim(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  for c, metric in findings.cases(results):
    for pruner, words in PRUNERS.items():
      gains = _gains(c.runs, pruner, metric)
      sparsest = gains[gains["sparsity"] == gains["sparsity"].max()]
      records.append(
        findings.positive(
          f"{c.title}, {words}: {CLAIM}",
          metric,
          _quote(c.workload, pruner),
          statistics.difference(sparsest, gains[gains["sparsity"] == 0]),
        )
      )
  # Where SAM gains less in the sparse network, there is less to gain.
  return records + [
    _fits_less(c, pruner)
    for c in findings.conditions(results)
    if c.label_noise
    for pruner in PRUNERS
  ]


def _fits_less(c: findings.Condition, pruner: str) -> findings.Record:
  """Returns the claim that SGD memorizes less in the sparsest network."""
  gains = _gains(c.runs, pruner, findings.FIT)
  return findings.sgd_fits_less(
    f"{c.title}, {PRUNERS[pruner]}: SGD fits fewer of the (noisy) training"
    " labels in the large, sparse network",
    gains[gains["sparsity"] == gains["sparsity"].max()],
    gains[gains["sparsity"] == 0],
  )


def _quote(workload: str, pruner: str) -> str:
  """Returns what the paper found in the workload that is most alike."""
  workload = findings.nearest(workload)
  number = _PAPER[workload][pruner]
  return findings.quote_gain(number, workload, x="sparsity")


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = findings.conditions(results)
  fig, axes = figures.create(len(conditions), [c.title for c in conditions])
  for ax, c in zip(axes, conditions, strict=True):
    tables = []
    for pruner, words in PRUNERS.items():
      table = statistics.summary(_gains(c.runs, pruner, c.metric), ["sparsity"])
      tables.append(table.assign(pruner=words))
    # Rounded for the labels of the axis.
    table = pd.concat(tables).round({"sparsity": 2})
    figures.gain_curves(ax, table, c.metric, "sparsity", by="pruner")
    if findings.is_papers(c.workload):
      names = sorted(PRUNERS, key=PRUNERS.__getitem__)
      for pruner, color in zip(names, figures.colors(names), strict=True):
        label, number = f"{PRUNERS[pruner]}, paper", _PAPER[c.workload][pruner]
        panels.paper_gain(ax, number, c.workload, label, color, "sparsity")
    figures.legend(ax)
  return fig
