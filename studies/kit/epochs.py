"""What early stopping does to the gain by SAM: claims and panels.

Three test accuracies of the same runs are compared: of the final epoch (without
early stopping), of the epoch with the best validation accuracy (with it) and of
the best test epoch, which the published code reports. SAM and its base
optimizer each stop at their own epoch. rho is chosen for each size and metric.

That the gain does not grow without early stopping means: by at most half of
what it grows by with it.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import reference
from studies.kit.conditions import SIZE

METRICS = {
  "final epoch": "final_test_accuracy",
  "best validation epoch": "chosen_test_accuracy",
  "best test epoch": "best_test_accuracy",
}
FINAL, STOPPED, _ = METRICS.values()


def claims(found: Sequence[conditions.Condition]) -> list[findings.Finding]:
  """Returns the findings of Figure 5d about runs of any workload."""
  paper = " and ".join(
    f"{reference.quote_gain(figure, 'transformer_pos')} ({how} early stopping)"
    for figure, how in (("16b", "without"), ("7", "with"))
  )
  cases = [
    (c.title, {metric: c.gains(metric) for metric in METRICS.values()})
    for c in found
  ]
  compared = f"{FINAL} against {STOPPED}"
  return [
    *(
      findings.does_not_grow(
        f"{title}: without early stopping the gain does not grow as with it",
        compared,
        paper,
        gains[FINAL],
        gains[STOPPED],
      )
      for title, gains in cases
    ),
    *(
      findings.grows(title, metric, paper, gains[metric])
      for title, gains in cases
      for metric in METRICS.values()
    ),
    *(
      findings.positive(
        f"{title}: the gain is larger without early stopping",
        compared,
        paper,
        statistics.difference(gains[FINAL], gains[STOPPED]),
      )
      for title, gains in cases
    ),
  ]


def draw_gains(ax: Axes, condition: conditions.Condition) -> None:
  """Draws the gain against the size, one curve for each epoch."""
  summaries = [
    condition.summary(metric).assign(epoch=epoch)
    for epoch, metric in METRICS.items()
  ]
  curves.gains(ax, pd.concat(summaries), "test_accuracy", by="epoch")


def draw_accuracies(ax: Axes, condition: conditions.Condition) -> None:
  """Draws SAM and the base optimizer, with early stopping and without."""
  for epoch, dashed in (
    ("best validation epoch", True),
    ("final epoch", False),
  ):
    table = condition.summary(METRICS[epoch])
    for name, label, color in (
      ("base", condition.base, figures.BASE),
      ("sam", "SAM", figures.SAM),
    ):
      figures.curve(
        ax,
        table[SIZE],
        table[name],
        table[f"{name}_stderr"],
        f"{label}, {epoch}",
        color,
        dashed,
      )
  figures.x_axis(ax, SIZE, table[SIZE])
  ax.set_ylabel(captions.metric("test_accuracy"))
