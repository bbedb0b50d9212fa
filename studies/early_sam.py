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

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids

PAPER = "Chen et al. (2023), switching SAM on"
CLAIM = "early steps of SAM gain more than as many late ones"
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
# Percent of the steps, a column.
SHARE = "share"
_WINDOW = ["sam_begin", "sam_end"]


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
    name + suffix: {**shape, **window}
    for name, window in (first | last).items()
  }
  rhos = tuple(rho for rho in grid.sweep["rho"] if rho > 0)
  return (
    grid.change(shapes={f"always{suffix}": shape}),
    grid.change(shapes=windows, sweep={"rho": rhos}),
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


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def _conditions(results: pd.DataFrame) -> list[findings.Condition]:
  """Returns the conditions, first those without a constant learning rate."""
  found = []
  for is_constant in (False, True):
    runs = results[(results["lr_scheduler"] == "constant") == is_constant]
    for condition in findings.conditions(runs):
      title = condition.title
      title += ", constant learning rate" if is_constant else ""
      found.append(findings.Condition(**vars(condition) | {"title": title}))
  return found


def gains(condition: findings.Condition, metric: str = "") -> pd.DataFrame:
  """Returns the gain in every window, with its name and share of the steps."""
  metric = metric or condition.metric
  table = findings.gains(condition.runs, _WINDOW, metric)
  begin, end = table["sam_begin"], table["sam_end"]
  window = pd.Series("always", table.index)
  window = window.mask(end < 1, "first").mask(begin > 0, "last")
  share = (100 * (end - begin)).round().astype(int)
  return table.assign(**{"window": window, SHARE: share})


def claim(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  for condition in _conditions(results):
    title, metric = condition.title, condition.metric
    table = gains(condition)
    first, last = (table[table["window"] == w] for w in ("first", "last"))
    theorem = "Theorem 4.1: SAM first, then SGD"
    for share in (None, *sorted(first[SHARE].unique())):
      sides = [
        g if share is None else g[g[SHARE] == share] for g in (first, last)
      ]
      at = "" if share is None else f", {share} % of the steps"
      text = f"{title}{at}: SAM first gains more than SAM last"
      difference = statistics.difference(*sides)
      records.append(findings.positive(text, metric, theorem, difference))
    records.append(
      findings.positive(
        f"{title}: SAM last gains more the earlier it starts",
        metric,
        "ImageNet, by words: the earlier, the larger the benefit",
        statistics.slope(
          last,
          SHARE,
          statistic="slope of the gain for each doubling of the share of steps",
        ),
      )
    )
    if condition.runs["lr_scheduler"].eq("constant").all():
      records.append(_fit_at_end(condition))
  return records


def _fit_at_end(condition: findings.Condition) -> findings.Record:
  """Returns the record of the claim that SGD fits wrong labels after SAM."""
  table = gains(condition, findings.FIT)
  first, last = (table[table["window"] == w] for w in ("first", "last"))
  return findings.positive(
    f"why: {condition.title}: with SAM first, SGD then fits more training"
    " labels, wrong ones too, than SAM last leaves",
    f"{findings.FIT} at the end",
    "not reported",
    statistics.difference(
      first, last, "sam", "difference of the accuracies, paired over seeds"
    ),
  )


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = _conditions(results)
  fig, axes = figures.create(len(conditions), [c.title for c in conditions])
  for ax, condition in zip(axes, conditions, strict=True):
    _draw(ax, gains(condition), condition.metric)
    figures.legend(ax, "steps that are SAM's")
  top = max(ax.get_ylim()[1] for ax in axes)
  bottom = min(ax.get_ylim()[0] for ax in axes)
  for ax in axes:
    ax.set_ylim(bottom, top)
  return fig


def _draw(ax: Axes, table: pd.DataFrame, metric: str) -> None:
  """Draws the gain of each window against its share, and that of all steps."""
  ax.axhline(0, color="0.5", linewidth=0.8, zorder=1)
  summary = statistics.summary(table, ["window", SHARE])
  for window, color in zip(
    ("first", "last", "always"), figures.CATEGORIES, strict=False
  ):
    part = summary[summary["window"] == window]
    figures.curve(ax, part[SHARE], part["mean"], part["stderr"], window, color)
  ax.set_xticks(sorted(summary[SHARE]))
  ax.set_xlabel("share of the steps (%)")
  ax.set_ylabel(captions.gain(metric))
