"""Early stopping: after Shin et al. (UAI 2025), Figure 5d.

Claim: without early stopping the gain by SAM does not grow with the number of
parameters. It is the paper's, of part-of-speech tagging, whose data set is not
here; so this study asks the same of other workloads, under label noise.

Three test accuracies of the same runs are compared: of the final epoch (without
early stopping), of the epoch with the best validation accuracy (with it) and of
the best test epoch, which the published code reports. SAM and SGD each stop at
their own epoch. rho is chosen for each size and metric.

  laptop: MLPs [w, w], w = 4 to 128, on digits with 25, 50 and no label noise,
    10 seeds, evaluated every 2 epochs; rho by the validation split.
  paper: ResNet-18, 4 to 64 filters, on CIFAR-10 with the same noise, 3 seeds,
    evaluated every epoch. Nothing is held out, so the stopping epoch is the
    best test epoch and rho is chosen on the test set.

That it does not grow means: by at most half of what it grows by with early
stopping.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from studies import cells as cells_lib
from studies import claims
from studies import figures
from studies import findings
from studies import grids
from studies import labels

PAPER = "Figure 5d, of another workload"
CLAIM = (
  "without early stopping SAM's gain does not grow with the number of"
  " parameters"
)
RATES = (0.25, 0.5)
EPOCHS = {
  "final epoch": "final_test_accuracy",
  "best validation epoch": "chosen_test_accuracy",
  "best test epoch": "best_test_accuracy",
}
# Numbers of the plots; figure 5d is not among the values of `reference`.
_PAPER = (
  "Figures 5d and 7, part-of-speech tagging: gain 2.41, 1.11, 3.37, 2.10, 1.26"
  " without and -0.10, 0.65, 0.83, 1.06, 1.15 with early stopping, for 5.5M to"
  " 51M parameters"
)

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.widths(4, 8, 16, 32, 64, 128),
      # Without noise nothing is memorized that early stopping would spare.
      sweep={"label_noise": (*RATES, 0.0)},
      fields={"eval_every_epochs": 2},
    ),
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      metric="final_test_accuracy",
      shapes=grids.resnets(4, 16, 32, 64),
      sweep={"label_noise": RATES},
    ),
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  final, stopped, _ = EPOCHS.values()
  cases = [
    (c.title, {metric: c.gains(metric) for metric in EPOCHS.values()})
    for c in findings.conditions(results)
  ]
  compared = f"{final} against {stopped}"
  records = [
    findings.does_not_grow(
      f"{title}: without early stopping the gain does not grow as with it",
      compared,
      _PAPER,
      gains[final],
      gains[stopped],
    )
    for title, gains in cases
  ]
  records += [
    findings.grows(title, metric, _PAPER, gains[metric])
    for title, gains in cases
    for metric in EPOCHS.values()
  ]
  return records + [
    findings.positive(
      f"{title}: the gain is larger without early stopping",
      compared,
      _PAPER,
      claims.difference(gains[final], gains[stopped]),
    )
    for title, gains in cases
  ]


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = findings.conditions(results)
  last = conditions[-1]
  titles = [f"gain, {findings.noise(c.label_noise)}" for c in conditions]
  fig, axes = figures.create(len(titles) + 1, [*titles, last.title])
  size = findings.SIZE
  for ax, c in zip(axes, conditions, strict=False):
    summaries = [
      claims.summary(c.gains(metric), [size]).assign(epoch=epoch)
      for epoch, metric in EPOCHS.items()
    ]
    table = pd.concat(summaries)
    figures.gain_curves(ax, table, "test_accuracy", by="epoch")
    figures.legend(ax)
  ax = axes[-1]
  for epoch, dashed in (
    ("best validation epoch", True),
    ("final epoch", False),
  ):
    table = claims.summary(last.gains(EPOCHS[epoch]), [size])
    for name, label, color in (
      ("base", "SGD", figures.BASE),
      ("sam", "SAM", figures.SAM),
    ):
      figures.curve(
        ax,
        table[size],
        table[name],
        table[f"{name}_stderr"],
        f"{label}, {epoch}",
        color,
        dashed,
      )
  figures.x_axis(ax, size, table[size])
  ax.set_ylabel(labels.metric("test_accuracy"))
  figures.legend(ax)
  return fig
