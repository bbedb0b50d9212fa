"""When SAM matters: Chen et al. (2023, arXiv 2310.07269).

Their theory needs SAM in the first steps only, before SGD.

SAM is on in the first or in the last part of training, at equal numbers of its
steps: 10, 30, 50, 70 and 90 % of them. Claim: SAM first gains more than SAM
last, on average over these shares. The paper switches SAM on at such points and
keeps it on; that earlier is better, then, is that the gain of SAM last grows
with its share. Metric: final-epoch test accuracy, with rho chosen for each
window alike.

  laptop: an MLP [64, 64] on digits, 25 % label noise, 10 seeds; rho by the
    validation split. Also with a constant learning rate, at 10, 50 and 90 %,
    since the early steps are else those of the large learning rate.
  paper: ResNet-50 on ImageNet with batches of 1,024 and 10,000 steps of
    warm-up, and ResNet-18 on CIFAR-10; 3 seeds; rho on the test set. The paper
    also chooses the learning rate, from four.
"""

from collections.abc import Sequence
import dataclasses

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.study import Study

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
# Percent of the steps, a column.
SHARE = "share"


def _windows(
  grid: grids.Grid,
  shape: grids.Fields,
  shares: Sequence[float] = SHARES,
  suffix: str = "",
) -> tuple[grids.Grid, ...]:
  """Returns the grid of one shape with SAM always, and in every window.

  Runs of the base optimizer are in the first of them alone.
  """
  first = {f"first{100 * f:g}": {"sam_end": f} for f in shares}
  last = {f"last{100 * f:g}": {"sam_begin": round(1 - f, 2)} for f in shares}
  windows = {
    name: {**shape, **window} for name, window in (first | last).items()
  }
  return (
    grid.change(shapes={"always": shape}, suffix=suffix),
    grid.change(shapes=windows, suffix=suffix, sweep={"rho": grid.sam_rhos}),
  )


_DIGITS = grids.DIGITS_MLP.change(
  sweep={"rho": (0.0, 0.05, 0.2, 0.5), "label_noise": (0.25,)}
)
_MLP = {"num_neurons": (64, 64)}
_RESNET = {"num_filters": 64}

presets = {
  "laptop": (
    *_windows(_DIGITS, _MLP),
    *_windows(
      _DIGITS,
      _MLP | {"lr_scheduler": "constant"},
      (0.1, 0.5, 0.9),
      "-constant",
    ),
  ),
  "paper": (
    *_windows(
      grids.CIFAR_RESNET.change(
        metric="final_test_accuracy", sweep={"rho": (0.0, 0.05, 0.1, 0.2)}
      ),
      _RESNET,
    ),
    *_windows(
      grids.IMAGENET_RESNETS[1].change(
        metric="final_test_accuracy",
        sweep={"rho": (0.0, 0.01, 0.02, 0.05)},
        fields={"batch_size": 1024, "warmup_steps": 10_000},
      ),
      _RESNET,
    ),
  ),
}


def _conditions(results: pd.DataFrame) -> list[conditions.Condition]:
  """Returns the conditions, first those without a constant learning rate."""
  is_constant = results["lr_scheduler"] == "constant"
  return conditions.of(results[~is_constant]) + [
    dataclasses.replace(c, title=f"{c.title}, constant learning rate")
    for c in conditions.of(results[is_constant])
  ]


def _gains(c: conditions.Condition, metric: str = "") -> pd.DataFrame:
  """Returns the gain in every window, with its name and share of the steps."""
  table = c.gains(metric, "sam_begin", "sam_end")
  begin, end = table["sam_begin"], table["sam_end"]
  window = pd.Series("always", table.index)
  window = window.mask(end < 1, "first").mask(begin > 0, "last")
  share = (100 * (end - begin)).round().astype(int)
  return table.assign(**{"window": window, SHARE: share})


def _first_and_last(
  c: conditions.Condition, metric: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame]:
  """Returns the gains of SAM first, and those of SAM last."""
  gains = _gains(c, metric)
  return gains[gains["window"] == "first"], gains[gains["window"] == "last"]


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [f for c in _conditions(results) for f in _claims(c)]


def _claims(c: conditions.Condition) -> list[findings.Finding]:
  theorem = "Theorem 4.1: SAM first, then SGD"
  first, last = _first_and_last(c)
  found = [
    findings.positive(
      f"{c.title}: SAM first gains more than SAM last",
      c.metric,
      theorem,
      statistics.difference(first, last),
    ),
    *(
      findings.positive(
        f"{c.title}, {share} % of the steps: SAM first gains more than SAM"
        " last",
        c.metric,
        theorem,
        statistics.difference(
          first[first[SHARE] == share], last[last[SHARE] == share]
        ),
      )
      for share in sorted(first[SHARE].unique())
    ),
    findings.positive(
      f"{c.title}: SAM last gains more the earlier it starts",
      c.metric,
      "ImageNet, by words: the earlier, the larger the benefit",
      statistics.slope(
        last,
        SHARE,
        statistic="slope of the gain for each doubling of the share of steps",
      ),
    ),
  ]
  if c.runs["lr_scheduler"].eq("constant").all():
    found.append(
      findings.positive(
        f"why: {c.title}: with SAM first, SGD then fits more training labels,"
        " wrong ones too, than SAM last leaves",
        f"{conditions.FIT} at the end",
        "not reported",
        statistics.difference(
          *_first_and_last(c, conditions.FIT),
          "sam",
          "difference of the accuracies, paired over seeds",
        ),
      )
    )
  return found


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  fig = panels.figure(
    *(
      panels.Panel(c.title, _draw, (c,), "steps that are SAM's")
      for c in _conditions(results)
    )
  )
  limits = [ax.get_ylim() for ax in fig.axes]
  for ax in fig.axes:
    ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
  return fig


def _draw(ax: Axes, c: conditions.Condition) -> None:
  """Draws the gain of each window against its share, and that of all steps."""
  ax.axhline(0, color="0.5", linewidth=0.8, zorder=1)
  summary = statistics.summary(_gains(c), ["window", SHARE])
  for window, color in zip(
    ("first", "last", "always"), figures.CATEGORIES, strict=False
  ):
    part = summary[summary["window"] == window]
    figures.curve(ax, part[SHARE], part["mean"], part["stderr"], window, color)
  ax.set_xticks(sorted(summary[SHARE]))
  ax.set_xlabel("share of the steps (%)")
  ax.set_ylabel(captions.gain(c.metric))


STUDY = Study(
  paper="Chen et al. (2023), switching SAM on",
  claim="early steps of SAM gain more than as many late ones",
  presets=presets,
  claims=claims,
  figure=figure,
)
