"""m-sharpness: the gain by SAM against the size of the microbatch.

Not in the paper, whose code perturbs with the batch of each device and so
couples m, the number of examples that share a perturbation, to the number of
GPUs. Claim: the smaller m, the larger the gain. Metric: test accuracy, with rho
chosen for each network and m.

  laptop: MLPs [32, 32] and [64, 64] on digits, with and without 25 % label
    noise, m = 16 to 128 = the batch, 10 seeds; final epoch, rho by the
    validation split.
  paper: its ResNet-18 of 16 and 64 filters on CIFAR-10, m = 16 to 128 = the
    batch, 3 seeds; best test epoch, rho on the test set. Each microbatch of SAM
    has its own BatchNorm statistics; SGD has those of the batch.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from analysis import curves
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Study

PAPER = "not in the paper"
CLAIM = "SAM gains more the fewer examples share a perturbation"
M = "microbatch_size"
BATCH = 128


def _with_microbatches(grid: grids.Grid) -> tuple[grids.Grid, ...]:
  """Returns the grid, and without SGD for every smaller microbatch."""
  whole = grid.change(fields={M: BATCH})
  smaller = grid.change(
    shapes={
      f"{name}-m{m}": {**shape, M: m}
      for name, shape in grid.shapes.items()
      for m in (64, 32, 16)
    },
    sweep={"rho": grid.sam_rhos},
  )
  return whole, smaller


presets = {
  "laptop": _with_microbatches(
    grids.DIGITS_MLP.change(shapes=grids.widths(32, 64))
  ),
  "paper": _with_microbatches(
    grids.CIFAR_RESNET.change(shapes=grids.resnets(16, 64))
  ),
}


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  found = []
  for c, metric in conditions.with_metrics(results):
    gains = c.gains(metric, SIZE, M)
    over_sizes = gains.groupby(["seed", M], as_index=False)[
      ["base", "sam", "gain", "naive"]
    ].mean()
    text = f"{c.title}: {CLAIM}, on average over the sizes"
    trend = statistics.slope(over_sizes, M)
    found.append(findings.negative(text, metric, PAPER, trend))
  return found


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  found = conditions.of(results)

  best = found[0].best_rho(SIZE, M)
  return panels.figure(
    *(
      Panel(
        c.title,
        curves.gains,
        (c.summary(c.metric, SIZE, M), c.metric, M, SIZE),
        "parameters",
      )
      for c in found
    ),
    Panel("best rho", curves.best_rho, (best, SIZE, M), "parameters"),
  )


STUDY = Study(
  paper=PAPER,
  claim=CLAIM,
  presets=presets,
  claims=claims,
  figure=figure,
)
