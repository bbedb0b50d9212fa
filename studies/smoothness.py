"""Smoothness and PL constant: Shin et al. (UAI 2025), Appendix F, Figure 21.

Claim: late in training by SAM, the loss f of a larger network is smoother and
its Polyak-Lojasiewicz (PL) constant larger. Metric: estimates of both along the
step v from the weights x after an epoch to those after the next,

  beta = max ||grad f(x + g v) - grad f(x)|| / ||g v||,
  alpha = min ||grad f(x + g v)||^2 / f(x + g v),  g = 0.1, 0.2, ..., 1,

of the loss of the whole training set, averaged over the last tenth of the
epochs.

  laptop: MLPs [w, w], w = 16, 64, 256, on digits, 10 seeds; ResNet-18, 2, 4 and
    8 filters, on digits, 25 epochs, 3 seeds. rho is that of the workload.
  paper: ResNet-18, 16, 32 and 64 filters, on CIFAR-10, 3 seeds, with the
    paper's best rho. The snapshots of 200 epochs take 36 GB of disk; to measure
    takes 0.8 times what to train does.
  desktop: not in the paper: its MLPs of 75-25, 300-100 and 1200-400 neurons on
    MNIST, 100 epochs, 3 seeds, with the paper's best rho.

Before the last tenth, only every eighth of the epochs is measured, for the
figure; the paper measures all. BatchNorm takes the statistics of the batch, as
in training, so that f depends on nothing but the weights.

Cross-entropy has no PL constant: where it is small its gradient is about as
small, so alpha falls with f, which ends lower in a larger network. So alpha / f
is measured, too; and alpha of the squared error, which does have one wherever
the tangent kernel has full rank, as it can on few digits (`FEW`).
"""

from typing import Any

import jax
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import figures
from analysis import restored
from analysis import statistics
from run_folder import snapshots
from sharpness import smoothness
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study

BETA, ALPHA = "smoothness", "pl_constant"
LABELS = {BETA: "smoothness beta", ALPHA: "PL constant alpha"}
RELATIVE = "late_pl_constant_over_loss"
LATE = 0.1
NUM_EARLY = 8
# Of 1,437 digits, those that are not held out.
NUM_FEW = 72
FEW = f"MLP on {NUM_FEW} digits, squared error"

_TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)

# SAM alone, with the rho of the config.
_SAM = {"rho": (), "label_noise": ()}
_MLP = grids.DIGITS_MLP.change(
  shapes=grids.widths(16, 64, 256),
  sweep=_SAM,
  fields={"snapshot_every_epochs": 1},
)
presets = {
  "laptop": (
    _MLP,
    grids.DIGITS_RESNET.change(
      sweep=_SAM, fields={"snapshot_every_epochs": 1, "eval_every_epochs": 25}
    ),
    _MLP.change(
      suffix="-few",
      fields={
        "validation_fraction": 0.95,
        "batch_size": 24,
        "loss": "squared_error",
        "learning_rate": 0.05,
        "rho": 0.05,
        "weight_decay": 0.0,
      },
    ),
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      shapes={
        name: {**shape, "rho": rho}
        for (name, shape), rho in zip(
          grids.resnets(16, 32, 64).items(), (0.1, 0.1, 0.2), strict=True
        )
      },
      sweep=_SAM,
      fields={"snapshot_every_epochs": 1},
    ),
  ),
  "desktop": (
    grids.MNIST_MLP.change(
      shapes={
        name: {**shape, "rho": rho}
        for (name, shape), rho in zip(
          grids.mlps((75, 25), (300, 100), (1200, 400)).items(),
          (0.02, 0.2, 0.2),
          strict=True,
        )
      },
      sweep=_SAM,
      fields={"snapshot_every_epochs": 1},
    ),
  ),
}


def measure(run: restored.Run) -> dict[str, Any]:
  objective = run.objective(
    batch_statistics="batch_stats" in run.weights["model_state"]
  )
  ends = snapshots.steps(run.folder)
  num_epochs = len(ends) - 1

  def weights(epoch: int) -> jax.Array:
    return objective.flatten(run.snapshot(ends[epoch]).weights["params"])

  num_late = max(1, round(LATE * num_epochs))
  early = range(0, num_epochs - num_late, max(1, num_epochs // NUM_EARLY))
  steps = [*early, *range(num_epochs - num_late, num_epochs)]
  found = [
    smoothness.along_step(objective, weights(i), weights(i + 1)) for i in steps
  ]
  betas, alphas = np.array(found).T
  losses = [float(objective.value(weights(i + 1))) for i in steps[-num_late:]]
  return {
    f"late_{BETA}": float(betas[-num_late:].mean()),
    f"late_{ALPHA}": float(alphas[-num_late:].mean()),
    RELATIVE: float(np.mean(alphas[-num_late:] / losses)),
    "late_loss": float(np.mean(losses)),
    # After the step.
    "epochs": [i + 1 for i in steps],
    BETA: betas.tolist(),
    ALPHA: alphas.tolist(),
  }


def _by_title(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Returns the runs by workload; those with few digits last."""
  results = results[results["status"] == "finished"]
  few = results["loss"] == "squared_error"
  found = conditions.by_title(results[~few])
  return found | ({FEW: results[few]} if few.any() else {})


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  workloads = _by_title(results)
  few = workloads.pop(FEW, None)
  found = []
  for title, runs in workloads.items():
    found += [
      findings.negative(
        f"{title}: a larger network is smoother",
        f"late_{BETA}",
        _quote(BETA),
        statistics.slope(runs, SIZE, f"late_{BETA}"),
      ),
      findings.positive(
        f"{title}: a larger network has a larger PL constant",
        f"late_{ALPHA}",
        _quote(ALPHA),
        statistics.slope(runs, SIZE, f"late_{ALPHA}"),
      ),
      findings.positive(
        f"{title}: why: in relation to the loss it is larger, but the loss is"
        " lower",
        RELATIVE,
        "not reported",
        statistics.slope(runs, SIZE, RELATIVE),
      ),
    ]
  if few is not None:
    found.append(
      findings.positive(
        f"{FEW}: why: where the loss has a PL constant, it grows with size",
        f"late_{ALPHA}",
        "not in the paper",
        statistics.slope(few, SIZE, f"late_{ALPHA}"),
      )
    )
  return found


def _paper(name: str) -> pd.DataFrame:
  table = reference.load("21", "resnet_cifar")
  return table[table["metric"] == f"late_{name}"]


def _quote(name: str) -> str:
  """Returns what the paper found, in words."""
  table = _paper(name)
  values = ", ".join(f"{x:g}" for x in table["value"])
  sizes = ", ".join(map(captions.number, table[SIZE]))
  return f"Figure 21, ResNet-18 on CIFAR-10: {values} with {sizes} parameters"


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  by_title = _by_title(results)
  late = pd.concat([runs.assign(of=of) for of, runs in by_title.items()])
  by_title.pop(FEW, None)
  shown = []
  for name in LABELS:
    shown += [
      Panel(title, _draw_epochs, (runs, name), "parameters")
      for title, runs in by_title.items()
    ]
    shown.append(Panel("last tenth of the epochs", _draw_late, (late, name)))
  return panels.figure(*shown)


def _draw_epochs(ax: Axes, runs: pd.DataFrame, name: str) -> None:
  """Draws means over seeds against the epoch, one curve for each size."""
  means = {}
  for size, part in runs.groupby(SIZE):
    table = pd.DataFrame(part[name].to_list())
    means[size] = table.mean().to_numpy(), table.sem().to_numpy()
  curves.losses(ax, runs["epochs"].iloc[0], means, y_label=LABELS[name])
  figures.log_y_axis(ax, _TICKS)


def _draw_late(ax: Axes, runs: pd.DataFrame, name: str) -> None:
  """Draws means over the last epochs against the size, and the paper's."""
  panels.draw_measured(ax, runs, f"late_{name}", by="of")
  label = "ResNet-18 on CIFAR-10, paper"
  curves.paper(ax, _paper(name), "value", label=label)
  figures.log_y_axis(ax, _TICKS)
  ax.set_ylabel(LABELS[name])


STUDY = Study(
  paper="Figure 21",
  claim=(
    "late in training by SAM, a larger network is smoother and has a larger PL"
    " constant"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    (
      f"late_{BETA}",
      f"late_{ALPHA}",
      RELATIVE,
      "late_loss",
      "epochs",
      BETA,
      ALPHA,
    ),
    seconds=2.0,
  ),
)
