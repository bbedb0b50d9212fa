"""SGD for twice the epochs: Shin et al. (UAI 2025), Figure 20.

A step of SAM costs two of SGD. Claim: SAM is better than SGD that trains twice
as long. Metric: test accuracy, with rho chosen for each size.

  laptop: MLPs [w, w], w = 8 to 128, on digits, with and without 25 % label
    noise, 10 seeds; SAM and SGD for 100 epochs, SGD for 200 with the same
    schedule stretched; final epoch, rho by the validation split.
  paper: ResNet-18, 4 to 256 filters, on CIFAR-10, 3 seeds; 200 and 400 epochs;
    best test epoch, rho on the test set.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels

PAPER = "Figure 20"
CLAIM = "SAM is better than SGD for twice the epochs"


def _with_twice(grid: grids.Grid, num_epochs: int) -> tuple[grids.Grid, ...]:
  """Returns the grid for so many epochs, and SGD's for twice as many."""
  once = grid.change(fields={"num_epochs": num_epochs})
  twice = grid.change(
    shapes={f"{name}-twice": shape for name, shape in grid.shapes.items()},
    sweep={"rho": ()},
    fields={"optimizer": "sgd", "num_epochs": 2 * num_epochs},
  )
  return once, twice


presets = {
  "laptop": _with_twice(grids.DIGITS_MLP, 100),
  "paper": _with_twice(grids.CIFAR_RESNET, 200),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def _gains(
  runs: pd.DataFrame, group: list[str], metric: str, twice: bool = True
) -> pd.DataFrame:
  """Returns the gain over SGD for once or twice SAM's epochs."""
  is_sam = runs["rho"] > 0
  epochs = runs.loc[is_sam, "num_epochs"].max() * (2 if twice else 1)
  pairs = runs[is_sam | (runs["num_epochs"] == epochs)]
  return findings.gains(pairs, group, metric)


def claim(results: pd.DataFrame) -> list[findings.Record]:
  paper = findings.quote_gain("20", "resnet_cifar")
  cases = [
    (c.title, metric, _gains(c.runs, [findings.SIZE], metric))
    for c, metric in findings.cases(results)
  ]
  records = [
    findings.positive(
      f"{title}: {CLAIM}", metric, paper, statistics.mean_gain(g)
    )
    for title, metric, g in cases
  ]
  return records + [
    findings.grows(f"{title}, over SGD for twice the epochs", metric, paper, g)
    for title, metric, g in cases
  ]


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = findings.conditions(results)[0]
  fig, (left, right) = figures.create(2, [main.title, "what SAM gains"])
  size = findings.SIZE
  num_epochs = main.runs["num_epochs"].min()
  once, twice = (
    statistics.summary(_gains(main.runs, [size], main.metric, twice), [size])
    for twice in (False, True)
  )
  names = [f"SGD, {n * num_epochs} epochs" for n in (1, 2)]
  for label, table, name, color in (
    (names[0], once, "base", figures.BASE),
    (names[1], twice, "base", figures.CATEGORIES[1]),
    (f"SAM, {num_epochs} epochs", once, "sam", figures.SAM),
  ):
    stderr = table[f"{name}_stderr"]
    figures.curve(left, table[size], table[name], stderr, label, color)
  figures.x_axis(left, size, once[size])
  left.set_ylabel(captions.metric(main.metric))
  once["over"], twice["over"] = (f"over {name}" for name in names)
  both = pd.concat([once, twice])
  figures.gain_curves(right, both, main.metric, by="over")
  panels.paper_gain(right, "20", main.workload, f"over {names[1]}, paper")
  figures.legend(left)
  figures.legend(right)
  return fig
