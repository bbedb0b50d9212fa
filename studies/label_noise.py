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


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [
    finding
    for runs in conditions.by_title(results).values()
    for finding in _claims(conditions.of(runs, MAIN))
  ]


def _claims(found: list[conditions.Condition]) -> list[findings.Finding]:
  """Returns the claims of a workload, whose first condition is MAIN's."""
  main, lowest = found[0], min(found, key=lambda c: c.label_noise)
  best = conditions.other_epoch(main.metric)
  one = main.only("shape", *SHAPES)
  named = ", ".join([main.title, *one.runs["shape"].unique()])
  faster = conditions.excess(main.gains(), lowest.gains())
  return [
    *(findings.grows(c.title, c.metric, _quote(c), c.gains()) for c in found),
    findings.grows(main.title, best, _quote(main), main.gains(best)),
    *(
      findings.positive(
        f"{named}: SAM gains",
        metric,
        _quote(main),
        statistics.mean_gain(one.gains(metric)),
      )
      for metric in (main.metric, best)
      if len(one.runs)
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
  """Returns what the paper found at a label noise, which it has in ResNets."""
  if c.label_noise == 0:
    known = workloads.is_papers(c.workload)
    return reference.quote_gain("7", c.workload if known else "resnet_cifar")
  return reference.quote_gain("12", "resnet_cifar", c.label_noise)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  found = conditions.by_title(results)
  drawn = []
  for title, runs in found.items():
    main = conditions.of(runs, MAIN)[0]
    gain = "what SAM gains"
    named = gain if len(found) == 1 else f"{title}: {gain}"
    drawn += [
      Panel(main.title, _draw_main, (main,)),
      Panel(named, _draw_rates, (runs,), legend="label noise (%)"),
    ]
  return panels.figure(*drawn)


def _draw_main(ax: Axes, main: conditions.Condition) -> None:
  """Draws the accuracies, and an arrow at the size whose gain is stated."""
  panels.draw_pair(ax, main)
  gains = main.only("shape", *SHAPES).gains()
  if len(gains):
    curves.gain_arrow(ax, *gains[[SIZE, "base", "sam"]].mean())
  if main.workload == "resnet_cifar":
    panels.draw_papers_pair(ax, reference.gain("12", main.workload, MAIN))


def _draw_rates(ax: Axes, runs: pd.DataFrame) -> None:
  """Draws the gain against the size, one curve for each label noise."""
  panels.draw_gains(ax, runs, lambda rate: 100 * rate)
  if runs["workload"].iloc[0] != "resnet_cifar":
    return
  rates = sorted(runs["label_noise"].unique())
  for rate, color in zip(rates, figures.colors(rates), strict=True):
    paper = reference.gain("12", "resnet_cifar", rate)
    if len(paper):
      label = f"{100 * rate:g}, paper"
      curves.paper(ax, paper, label=label, color=color)


STUDY = Study(
  paper="Figures 5a and 12",
  claim="under label noise, SAM gains more the more parameters there are",
  presets=presets,
  claims=claims,
  figure=figure,
)
