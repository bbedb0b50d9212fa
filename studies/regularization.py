"""Regularization: Shin et al. (UAI 2025), Figures 5c to 5e, 16 and 18.

Claims: without regularization the gain by SAM does not grow with the number of
parameters, be it weight decay (5c), early stopping (5d) or the inductive bias
of convolutions (5e) that is missing; and SAM at its best decay beats SGD at its
own best decay (18). Metric: test accuracy, with rho chosen for each size and
decay, and the best decay for each size.

  laptop: MLPs [w, w], w = 8 to 128, on digits, with and without 25 % label
    noise; 5 decays, 4 rho, 10 seeds; final epoch, rho and decay by the
    validation split. A decay of 5e-3 shrinks the weights in these 900 steps as
    much as the paper's 1e-4 does in its 46,800 on MNIST. Transformers that tag
    sentences of a hidden Markov model, evaluated 10 times, and ViTs and
    ResNets on digits with 25 % label noise: the runs of `width.py`.
  paper: ResNet-18, 4 to 128 filters, on CIFAR-10, 3 seeds; 4 of the sizes with
    all decays of Figure 18; best test epoch, rho and decay on the test set.
    Transformers on part-of-speech tags, evaluated about every 1,000 steps; ViTs
    on CIFAR-10.

That it does not grow means: by at most half of what it grows by with decay,
with early stopping, or in the ResNet. `early_stopping.py` asks what Figure 5d
does of networks that memorize wrong labels.
"""

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import captions
from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import stopping_epoch

PAPER = "Figures 5c, 5d, 5e, 16 and 18"
CLAIM = (
  "without weight decay, early stopping or inductive bias SAM's gain does not"
  " grow with the number of parameters; and no weight decay makes up for SAM"
)
SIZE = findings.SIZE
# The workloads of Figure 5c, and the decay with which the gain is said to grow.
DECAY = {"mlp_digits": 5e-3, "resnet_cifar": 5e-4}

# Those of Figures 5d and 5e.
TAGGING = ("transformer_hmm", "transformer_pos")
IMAGES = ("vit_digits", "resnet_digits", "vit_cifar", "resnet_cifar")

_DECAY_PANELS = ("gain", "at the best decay of each", "SGD", "SAM")

_CIFAR_DECAYS = (0.0, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3)
presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      sweep={
        "weight_decay": (0.0, 1e-4, 1e-3, 5e-3, 2e-2),
        "rho": (0.0, 0.05, 0.1, 0.2, 0.5),
      }
    ),
    grids.HMM_TRANSFORMER,
    grids.DIGITS_VIT,
    grids.DIGITS_RESNET,
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      shapes=grids.resnets(4, 16, 32, 64),
      sweep={"weight_decay": _CIFAR_DECAYS},
    ),
    grids.CIFAR_RESNET.change(
      shapes=grids.resnets(8, 128), sweep={"weight_decay": (0.0, 5e-4)}
    ),
    grids.POS_TRANSFORMER,
    grids.CIFAR_VIT,
  ),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def _gains(
  condition: findings.Condition, decay: float, metric: str
) -> pd.DataFrame:
  runs = condition.runs[condition.runs["weight_decay"] == decay]
  return findings.gains(runs, [SIZE], metric)


def _gains_at_best_decays(
  condition: findings.Condition, metric: str
) -> pd.DataFrame:
  """Returns the gain of SAM at its best decay over SGD at its own."""
  runs, by = condition.runs, findings.choose_by(condition.runs, metric)
  decayed = [SIZE, "weight_decay"]
  best_rho = statistics.optimal_rho(runs, decayed, by)
  sides = [
    runs[runs["rho"] == 0],
    runs.merge(best_rho[[*decayed, "rho"]]),
  ]
  best = [
    side.merge(statistics.choose(side, [SIZE], "weight_decay", by)[decayed])
    for side in sides
  ]
  return findings.gains(pd.concat(best), [SIZE], metric)


def _with_decays(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs of Figure 5c."""
  return results[results["workload"].isin(list(DECAY))]


def _tagging(results: pd.DataFrame) -> list[findings.Condition]:
  """Returns the runs of Figure 5d."""
  return findings.conditions(results[results["workload"].isin(TAGGING)])


def _images(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs of Figure 5e, with and without inductive bias."""
  workload = results["workload"]
  decay = workload.map(DECAY).fillna(results["weight_decay"])
  is_image = workload.isin(IMAGES) & (results["weight_decay"] == decay)
  return results[is_image]


def claim(results: pd.DataFrame) -> list[findings.Record]:
  return [
    *_claim_decay(_with_decays(results)),
    *stopping_epoch.claim(_tagging(results)),
    *findings.claim_no_bias(_images(results)),
  ]


def _claim_decay(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  paper = " and ".join(
    findings.quote_gain(number, "resnet_cifar") for number in ("16a", "7")
  )
  for c, metric in findings.cases(results):
    having = DECAY[c.workload]
    records.append(
      findings.does_not_grow(
        f"{c.title}: without weight decay the gain does not grow as with"
        f" {_text(having)}",
        metric,
        paper,
        _gains(c, 0.0, metric),
        _gains(c, having, metric),
      )
    )
  for c, metric in findings.cases(results):
    title = f"{c.title}, weight decay {_text(DECAY[c.workload])}"
    gains = _gains(c, DECAY[c.workload], metric)
    records.append(findings.grows(title, metric, paper, gains))
  paper = findings.quote("18", "resnet_cifar", _paper_18())
  for c, metric in findings.cases(results):
    records.append(
      findings.positive(
        f"{c.title}: SAM at its best weight decay beats SGD at its own",
        metric,
        paper,
        statistics.mean_gain(_gains_at_best_decays(c, metric)),
      )
    )
  return records + [
    findings.sgd_fits_less(
      f"{c.title}: SGD fits fewer of the (noisy) training labels with weight"
      f" decay {_text(DECAY[c.workload])}",
      _gains(c, DECAY[c.workload], findings.FIT),
      _gains(c, 0.0, findings.FIT),
    )
    for c in findings.conditions(results)
    if c.label_noise
  ]


def _paper_18() -> pd.DataFrame:
  """Returns the paper's accuracies at the best decay, and their difference."""
  table = reference.load("18", "cifar10_resnet18")
  best = table.groupby([SIZE, "optimizer"])["value"].max().unstack()
  best = best.rename(columns={"sgd": "base"}).reset_index()
  return best.assign(mean=best["sam"] - best["base"], stderr=np.nan)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  decays = findings.conditions(_with_decays(results))[:1]
  tagging = _tagging(results)
  images = findings.conditions(_images(results))
  titles = [
    *(f"{c.title}: {what}" for c in decays for what in _DECAY_PANELS),
    *(c.title for c in (*tagging, *images)),
  ]
  fig, axes = figures.create(len(titles), titles)
  panels_left = iter(axes)
  for c in decays:
    _draw_decay(c, *(next(panels_left) for _ in _DECAY_PANELS))
  for c in tagging:
    stopping_epoch.draw_gains(next(panels_left), c)
  for c in images:
    ax = next(panels_left)
    panels.gain_curves(ax, c.runs)
    panels.paper_gain(ax, "7", c.workload)
    figures.legend(ax)
  return fig


def _draw_decay(
  main: findings.Condition, gain: Axes, best: Axes, sgd: Axes, sam: Axes
) -> None:
  """Draws the panels of Figures 5c and 18."""
  group = ["weight_decay", SIZE]
  gains = findings.gains(main.runs, group, main.metric)
  summary = statistics.summary(gains, group)
  compared = summary[summary["weight_decay"].isin((0, DECAY[main.workload]))]
  compared = compared.assign(
    decay="weight decay " + compared["weight_decay"].map(_text)
  )
  figures.gain_curves(gain, compared, main.metric, by="decay")
  panels.paper_gain(gain, "16a", main.workload, "weight decay 0, paper")
  figures.legend(gain)
  tuned = statistics.summary(_gains_at_best_decays(main, main.metric), [SIZE])
  figures.pair_curves(best, tuned, main.metric)
  if findings.is_papers(main.workload):
    panels.paper_pair(best, _paper_18())
  figures.legend(best)
  sgd.sharey(sam)
  for ax, name in ((sgd, "base"), (sam, "sam")):
    _draw_decays(ax, summary, name)
    ax.set_ylabel(captions.metric(main.metric))
    figures.legend(ax, "parameters")


def _text(decay: float) -> str:
  return f"{decay:g}".replace("e-0", "e-")


def _draw_decays(ax: Axes, summary: pd.DataFrame, name: str) -> None:
  """Draws SGD or SAM against the decay, one curve for each size."""
  decays = np.unique(summary["weight_decay"])
  sizes = np.unique(summary[SIZE])
  for size, color in zip(sizes, figures.colors(list(sizes)), strict=True):
    part = summary[summary[SIZE] == size].sort_values("weight_decay")
    # Equally far apart, since there is no 0 on a log axis.
    at = np.searchsorted(decays, part["weight_decay"])
    figures.curve(
      ax, at, part[name], part[f"{name}_stderr"], captions.number(size), color
    )
  ax.set_xticks(range(len(decays)), [_text(decay) for decay in decays])
  ax.set_xlabel("weight decay")
