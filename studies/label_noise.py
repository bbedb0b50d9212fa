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
  desktop: rates 0 and 50 %, 3 seeds; rho by final validation accuracy. MLPs on
    MNIST and Fashion-MNIST, not in the paper: 75-25 to 1200-400 neurons, 4 rho,
    5,000 of the 60,000 images held out, 30 epochs instead of the 100 of the
    workload. On CIFAR-10 of the paper's ResNets those of 4 and 8 filters, rho
    0.1 and 0.2, and 40 epochs instead of 200 on a fifth of the images, 9,000 of
    them for training and 1,000 held out: 170 minutes on 2 cores with 4 filters,
    260 with 8, were all others idle.
"""

import dataclasses

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
SHAPES = ("width128", "filters64", "neurons300x100", "filters8")

_MNIST = grids.DESKTOP_MLP.change(
  shapes=grids.mlps((75, 25), (150, 50), (300, 100), (1200, 400)),
  sweep={"label_noise": (0.0, MAIN), "rho": (0.0, 0.05, 0.1, 0.2, 0.5)},
  fields={"num_epochs": 30},
)
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
  "desktop": (
    _MNIST,
    dataclasses.replace(_MNIST, workload="mlp_fashion_mnist"),
    grids.CIFAR_RESNET.change(
      metric="final_test_accuracy",
      shapes=grids.resnets(4, 8),
      sweep={"label_noise": (0.0, MAIN), "rho": (0.0, 0.1, 0.2)},
      fields={
        "data_seed": -1,
        "train_fraction": 0.2,
        "validation_fraction": 0.1,
        "num_epochs": 40,
        "eval_every_epochs": 2,
      },
    ),
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  return [
    record
    for runs in findings.by_title(results).values()
    for record in _claim(findings.conditions(runs, MAIN))
  ]


def _claim(conditions: list[findings.Condition]) -> list[findings.Record]:
  """Returns the claims of a workload, whose first condition is MAIN's."""
  main = conditions[0]
  best = findings.other_epoch(main.metric)
  records = [
    findings.grows(c.title, c.metric, _quote(c), c.gains()) for c in conditions
  ]
  paper = _quote(main)
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
      f"{paper}. {_quote(lowest)}",
      statistics.slope(
        findings.less(main.gains(), lowest.gains()), findings.SIZE
      ),
    )
  )
  return records


def _at_shape(main: findings.Condition) -> pd.DataFrame:
  return main.runs[main.runs["shape"].isin(SHAPES)]


def _quote(condition: findings.Condition) -> str:
  """Returns what the paper found at a label noise, which it has in ResNets."""
  rate, workload = condition.label_noise, condition.workload
  if rate == 0:
    known = findings.is_papers(workload)
    return findings.quote_gain("7", workload if known else "resnet_cifar")
  return findings.quote_gain("12", "resnet_cifar", rate)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  workloads = findings.by_title(results)
  mains = [findings.conditions(runs, MAIN)[0] for runs in workloads.values()]
  gain = "what SAM gains"
  titles = [gain] if len(mains) == 1 else [f"{x}: {gain}" for x in workloads]
  pairs = [x for c, t in zip(mains, titles, strict=True) for x in (c.title, t)]
  fig, axes = figures.create(len(pairs), pairs)
  for left, right, main, runs in zip(
    axes[::2], axes[1::2], mains, workloads.values(), strict=True
  ):
    _draw(left, right, main, runs)
  return fig


def _draw(
  left: Axes, right: Axes, main: findings.Condition, runs: pd.DataFrame
) -> None:
  """Draws a workload: accuracies at MAIN's noise, and the gains at each."""
  panels.pair_curves(left, main)
  _mark_gain(left, main)
  groups = ["label_noise", findings.SIZE]
  gains = findings.gains(runs, groups, main.metric)
  summary = statistics.summary(gains, groups)
  summary["percent"] = 100 * summary["label_noise"]
  figures.gain_curves(right, summary, main.metric, by="percent")
  if main.workload == "resnet_cifar":
    paper = findings.paper_gain("12", main.workload, MAIN)
    panels.paper_pair(left, paper)
    rates = sorted(summary["label_noise"].unique())
    for rate, color in zip(rates, figures.colors(rates), strict=True):
      paper = findings.paper_gain("12", main.workload, rate)
      if len(paper):
        label = f"{100 * rate:g}, paper"
        figures.paper_curve(right, paper, label=label, color=color)
  figures.legend(left)
  figures.legend(right, "label noise (%)")


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
