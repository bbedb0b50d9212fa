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
from matplotlib.axes import Axes
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Study

CLAIM = "SAM is better than SGD for twice the epochs"


def _with_twice(grid: grids.Grid, num_epochs: int) -> tuple[grids.Grid, ...]:
  """Returns the grid for so many epochs, and SGD's for twice as many."""
  once = grid.change(fields={"num_epochs": num_epochs})
  twice = grid.change(
    suffix="-twice",
    sweep={"rho": ()},
    fields={"optimizer": "sgd", "num_epochs": 2 * num_epochs},
  )
  return once, twice


presets = {
  "laptop": _with_twice(grids.DIGITS_MLP, 100),
  "paper": _with_twice(grids.CIFAR_RESNET, 200),
}


def _gains(
  c: conditions.Condition, metric: str = "", twice: bool = True
) -> pd.DataFrame:
  """Returns the gain over SGD for once or twice SAM's epochs."""
  is_sam = c.runs["rho"] > 0
  epochs = c.runs.loc[is_sam, "num_epochs"].max() * (2 if twice else 1)
  pairs = c.runs[is_sam | (c.runs["num_epochs"] == epochs)]
  return conditions.gains(pairs, [SIZE], metric or c.metric)


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  paper = reference.quote_gain("20", "resnet_cifar")
  cases = [
    (c.title, metric, _gains(c, metric))
    for c, metric in conditions.with_metrics(results)
  ]
  return [
    *(
      findings.positive(
        f"{title}: {CLAIM}", metric, paper, statistics.mean_gain(gains)
      )
      for title, metric, gains in cases
    ),
    *(
      findings.grows(
        f"{title}, over SGD for twice the epochs", metric, paper, gains
      )
      for title, metric, gains in cases
    ),
  ]


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = conditions.of(results)[0]
  num_epochs = main.runs["num_epochs"].min()
  names = [f"SGD, {n * num_epochs} epochs" for n in (1, 2)]
  once, twice = (
    statistics.summary(_gains(main, twice=twice), [SIZE]).assign(
      over=f"over {name}"
    )
    for twice, name in zip((False, True), names, strict=True)
  )

  def draw_accuracies(ax: Axes) -> None:
    for label, table, name, color in (
      (names[0], once, "base", figures.BASE),
      (names[1], twice, "base", figures.CATEGORIES[1]),
      (f"SAM, {num_epochs} epochs", once, "sam", figures.SAM),
    ):
      stderr = table[f"{name}_stderr"]
      figures.curve(ax, table[SIZE], table[name], stderr, label, color)
    figures.x_axis(ax, SIZE, once[SIZE])
    ax.set_ylabel(captions.metric(main.metric))

  def draw_gains(ax: Axes) -> None:
    curves.gains(ax, pd.concat([once, twice]), main.metric, by="over")
    label = f"over {names[1]}, paper"
    panels.draw_papers_gain(ax, "20", main.workload, label)

  return panels.figure(
    Panel(main.title, draw_accuracies),
    Panel("what SAM gains", draw_gains),
  )


STUDY = Study(
  paper="Figure 20",
  claim=CLAIM,
  presets=presets,
  claims=claims,
  figure=figure,
)
