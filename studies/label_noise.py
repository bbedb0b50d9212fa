"""Label noise: Shin et al. (UAI 2025), Figures 5a and 12. The headline figure.

Claim: the gain by SAM grows with the number of parameters, the more so the more
training labels are wrong. Metric: final-epoch test accuracy, with rho chosen
for each size and rate; the gain at the best test epoch stands beside it, and is
another number.

  laptop: MLPs [w, w], w = 4 to 256, on digits; 4 rates, 7 rho, 10 seeds; rho by
    final validation accuracy.
  paper: ResNet-18, 4 to 64 filters, on CIFAR-10; 3 rates, 3 seeds; rho on the
    test set. The paper does not name its epoch; its values look like final
    ones.
"""

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import curves
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Study

MAIN = 0.5
# Where the gain at the main rate is stated as a number.
SHAPES = ("width128", "filters64")

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.widths(4, 8, 16, 32, 64, 128, 256),
      sweep={
        "label_noise": (0.0, 0.25, 0.5, 0.75),
        "rho": (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
      },
      fields={"eval_every_epochs": 5},
    ),
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      metric="final_test_accuracy",
      shapes=grids.resnets(4, 16, 32, 64),
      sweep={"label_noise": (0.25, 0.5, 0.75)},
    ),
  ),
}


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  found = conditions.of(results, MAIN)
  main, lowest = found[0], min(found, key=lambda c: c.label_noise)
  best = conditions.other_epoch(main.metric)
  one = main.only("shape", *SHAPES)
  gains = f"{main.title}, {one.runs['shape'].iloc[0]}: SAM gains"
  faster = conditions.less(main.gains(), lowest.gains())
  return [
    *(findings.grows(c.title, c.metric, _quote(c), c.gains()) for c in found),
    findings.grows(main.title, best, _quote(main), main.gains(best)),
    *(
      findings.positive(
        gains, metric, _quote(main), statistics.mean_gain(one.gains(metric))
      )
      for metric in (main.metric, best)
    ),
    findings.positive(
      f"{main.title}: the gain grows faster than with"
      f" {conditions.noise(lowest.label_noise)}",
      main.metric,
      f"{_quote(main)}. {_quote(lowest)}",
      statistics.slope(faster, SIZE),
    ),
  ]


def _quote(c: conditions.Condition) -> str:
  """Returns what the paper found at a label noise."""
  if c.label_noise == 0:
    return reference.quote_gain("7", "resnet_cifar")
  return reference.quote_gain("12", "resnet_cifar", c.label_noise)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = conditions.of(results, MAIN)[0]

  def draw_main(ax: Axes) -> None:
    panels.draw_pair(ax, main)
    gains = main.only("shape", *SHAPES).gains()
    curves.gain_arrow(ax, *gains[[SIZE, "base", "sam"]].mean())
    if workloads.is_papers(main.workload):
      paper = reference.gain("12", main.workload, MAIN)
      panels.draw_papers_pair(ax, paper)

  def draw_rates(ax: Axes) -> None:
    panels.draw_gains(ax, results, lambda rate: 100 * rate)
    rates = sorted(results["label_noise"].unique())
    for rate, color in zip(rates, figures.colors(rates), strict=True):
      label = f"{100 * rate:g}, paper"
      panels.draw_papers_gain(
        ax, "12", main.workload, label, color, label_noise=rate
      )

  return panels.figure(
    Panel(main.title, draw_main),
    Panel("what SAM gains", draw_rates, legend="label noise (%)"),
  )


STUDY = Study(
  paper="Figures 5a and 12",
  claim="under label noise, SAM gains more the more parameters there are",
  presets=presets,
  claims=claims,
  figure=figure,
)
