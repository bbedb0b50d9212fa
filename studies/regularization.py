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
from analysis import curves
from analysis import figures
from analysis import statistics
from studies.kit import conditions
from studies.kit import epochs
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Study

# The workloads of Figure 5c, and the decay with which the gain is said to grow.
DECAY = {"mlp_digits": 5e-3, "resnet_cifar": 5e-4}

# Those of Figures 5d and 5e.
TAGGING = ("transformer_hmm", "transformer_pos")
IMAGES = ("vit_digits", "resnet_digits", "vit_cifar", "resnet_cifar")

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


def _gains(c: conditions.Condition, decay: float, metric: str) -> pd.DataFrame:
  return c.only("weight_decay", decay).gains(metric)


def _gains_at_best_decays(c: conditions.Condition, metric: str) -> pd.DataFrame:
  """Returns the gain of SAM at its best decay over SGD at its own."""
  tuned = ("weight_decay", "rho")
  return conditions.gains(c.runs, [SIZE], metric, tuned)


def _with_decays(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs of Figure 5c."""
  return results[results["workload"].isin(list(DECAY))]


def _tagging(results: pd.DataFrame) -> list[conditions.Condition]:
  """Returns the runs of Figure 5d."""
  return conditions.of(results[results["workload"].isin(TAGGING)])


def _images(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs of Figure 5e, with and without inductive bias."""
  workload = results["workload"]
  decay = workload.map(DECAY).fillna(results["weight_decay"])
  is_image = workload.isin(IMAGES) & (results["weight_decay"] == decay)
  return results[is_image]


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return [
    *_claims_of_decay(_with_decays(results)),
    *epochs.claims(_tagging(results)),
    *findings.no_growth_without_bias(_images(results)),
  ]


def _claims_of_decay(results: pd.DataFrame) -> list[findings.Finding]:
  cases = conditions.with_metrics(results)
  growth = " and ".join(
    reference.quote_gain(number, "resnet_cifar") for number in ("16a", "7")
  )
  tuned = reference.quote("18", "resnet_cifar", _paper_18())
  return [
    *(
      findings.does_not_grow(
        f"{c.title}: without weight decay the gain does not grow as with"
        f" {_text(DECAY[c.workload])}",
        metric,
        growth,
        _gains(c, 0.0, metric),
        _gains(c, DECAY[c.workload], metric),
      )
      for c, metric in cases
    ),
    *(
      findings.grows(
        f"{c.title}, weight decay {_text(DECAY[c.workload])}",
        metric,
        growth,
        _gains(c, DECAY[c.workload], metric),
      )
      for c, metric in cases
    ),
    *(
      findings.positive(
        f"{c.title}: SAM at its best weight decay beats SGD at its own",
        metric,
        tuned,
        statistics.mean_gain(_gains_at_best_decays(c, metric)),
      )
      for c, metric in cases
    ),
    *(
      findings.fits_less(
        f"{c.title}: SGD fits fewer of the (noisy) training labels with weight"
        f" decay {_text(DECAY[c.workload])}",
        _gains(c, DECAY[c.workload], conditions.FIT),
        _gains(c, 0.0, conditions.FIT),
      )
      for c in conditions.of(results)
      if c.label_noise
    ),
  ]


def _paper_18() -> pd.DataFrame:
  """Returns the paper's accuracies at the best decay, and their difference."""
  table = reference.load("18", "resnet_cifar")
  best = table.groupby([SIZE, "optimizer"])["value"].max().unstack()
  best = best.rename(columns={"sgd": "base"}).reset_index()
  return best.assign(mean=best["sam"] - best["base"], stderr=np.nan)


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  return panels.figure(
    *(
      panel
      for c in conditions.of(_with_decays(results))[:1]
      for panel in _panels_of_decay(c)
    ),
    *(Panel(c.title, epochs.draw_gains, (c,)) for c in _tagging(results)),
    *(
      Panel(c.title, panels.draw_gains_beside_papers, (c.runs, "7"))
      for c in conditions.of(_images(results))
    ),
  )


def _panels_of_decay(main: conditions.Condition) -> list[Panel]:
  """Returns the panels of Figures 5c and 18; no others are before them."""
  summary = main.summary(main.metric, "weight_decay", SIZE)

  def draw_gains(ax: Axes) -> None:
    compared = summary[summary["weight_decay"].isin((0, DECAY[main.workload]))]
    compared = compared.assign(
      decay=[f"weight decay {_text(x)}" for x in compared["weight_decay"]]
    )
    curves.gains(ax, compared, main.metric, by="decay")
    label = "weight decay 0, paper"
    panels.draw_papers_gain(ax, "16a", main.workload, label)

  def draw_best(ax: Axes) -> None:
    gains = _gains_at_best_decays(main, main.metric)
    curves.pair(ax, statistics.summary(gains, [SIZE]), main.metric)
    if workloads.is_papers(main.workload):
      panels.draw_papers_pair(ax, _paper_18())

  sgd, sam = ((summary, name, main.metric) for name in ("base", "sam"))
  return [
    Panel(f"{main.title}: gain", draw_gains),
    Panel(f"{main.title}: at the best decay of each", draw_best),
    Panel(f"{main.title}: SGD", _draw_decays, sgd, "parameters", share_y=3),
    Panel(f"{main.title}: SAM", _draw_decays, sam, "parameters"),
  ]


def _draw_decays(
  ax: Axes, summary: pd.DataFrame, name: str, metric: str
) -> None:
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
  ax.set_ylabel(captions.metric(metric))


def _text(decay: float) -> str:
  return f"{decay:g}".replace("e-0", "e-")


STUDY = Study(
  paper="Figures 5c, 5d, 5e, 16 and 18",
  claim=(
    "without weight decay, early stopping or inductive bias SAM's gain does not"
    " grow with the number of parameters; and no weight decay makes up for SAM"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
)
