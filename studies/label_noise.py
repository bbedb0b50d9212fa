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

from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels

PAPER = "Figures 5a and 12"
CLAIM = "under label noise, SAM gains more the more parameters there are"
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


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  conditions = findings.conditions(results, MAIN)
  main = conditions[0]
  best = findings.other_epoch(main.metric)
  records = [
    findings.grows(c.title, c.metric, _quote(c.label_noise), c.gains())
    for c in conditions
  ]
  paper = _quote(MAIN)
  records.append(findings.grows(main.title, best, paper, main.gains(best)))
  at = _at_shape(main)
  for metric in (main.metric, best):
    records.append(
      findings.positive(
        f"{main.title}, {at['shape'].iloc[0]}: SAM gains",
        metric,
        paper,
        statistics.mean_gain(findings.gains(at, [findings.SIZE], metric)),
      )
    )
  lowest = min(conditions, key=lambda c: c.label_noise)
  records.append(
    findings.positive(
      f"{main.title}: the gain grows faster than with"
      f" {findings.noise(lowest.label_noise)}",
      main.metric,
      f"{paper}. {_quote(lowest.label_noise)}",
      statistics.slope(
        findings.less(main.gains(), lowest.gains()), findings.SIZE
      ),
    )
  )
  return records


def _at_shape(main: findings.Condition) -> pd.DataFrame:
  return main.runs[main.runs["shape"].isin(SHAPES)]


def _quote(rate: float) -> str:
  """Returns what the paper found at a label noise."""
  if rate == 0:
    return findings.quote_gain("7", "resnet_cifar")
  return findings.quote_gain("12", "resnet_cifar", rate)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  main = findings.conditions(results, MAIN)[0]
  fig, (left, right) = figures.create(2, [main.title, "what SAM gains"])
  panels.pair_curves(left, main)
  _mark_gain(left, main)
  groups = ["label_noise", findings.SIZE]
  gains = findings.gains(results, groups, main.metric)
  summary = statistics.summary(gains, groups)
  summary["percent"] = 100 * summary["label_noise"]
  figures.gain_curves(right, summary, main.metric, by="percent")
  if findings.is_papers(main.workload):
    paper = findings.paper_gain("12", main.workload, MAIN)
    panels.paper_pair(left, paper)
    rates = sorted(summary["label_noise"].unique())
    for rate, color in zip(rates, figures.colors(rates), strict=True):
      paper = findings.paper_gain("12", main.workload, rate)
      label = f"{100 * rate:g}, paper"
      figures.paper_curve(right, paper, label=label, color=color)
  figures.legend(left)
  figures.legend(right, "label noise (%)")
  return fig


def _mark_gain(ax: Axes, main: findings.Condition) -> None:
  """Draws an arrow from SGD to SAM at the size whose gain is stated."""
  gains = findings.gains(_at_shape(main), [findings.SIZE], main.metric)
  x, base, sam, gain = gains[[findings.SIZE, "base", "sam", "gain"]].mean()
  arrow = {"arrowstyle": "->", "color": "0.35", "shrinkA": 5, "shrinkB": 5}
  ax.annotate("", (x, sam), (x, base), arrowprops=arrow)
  ax.annotate(
    f"{gain:+.1f}",
    (x, (base + sam) / 2),
    xytext=(-6, 0),
    textcoords="offset points",
    ha="right",
    va="center",
    color="0.25",
  )
