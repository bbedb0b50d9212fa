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

from analysis import figures
from analysis import statistics
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids

PAPER = "not in the paper"
CLAIM = "SAM gains more the fewer examples share a perturbation"
M = "microbatch_size"
BATCH = 128


def _with_microbatches(grid: grids.Grid) -> tuple[grids.Grid, ...]:
  """Returns the grid, and without SGD for every smaller microbatch."""
  whole = grid.change(fields={M: BATCH})
  rhos = tuple(rho for rho in grid.sweep["rho"] if rho > 0)
  smaller = grid.change(
    shapes={
      f"{name}-m{m}": {**shape, M: m}
      for name, shape in grid.shapes.items()
      for m in (64, 32, 16)
    },
    sweep={"rho": rhos},
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


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def claim(results: pd.DataFrame) -> list[findings.Record]:
  records = []
  for c, metric in findings.cases(results):
    gains = findings.gains(c.runs, [findings.SIZE, M], metric)
    over_sizes = gains.groupby(["seed", M], as_index=False)["gain"].mean()
    trend = statistics.slope(over_sizes, M)
    verdict = statistics.verdict(trend, at_most=0)
    text = f"{c.title}: {CLAIM}, on average over the sizes"
    records.append(statistics.claim_record(text, metric, PAPER, trend, verdict))
  return records


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  conditions = findings.conditions(results)
  main = conditions[0]
  titles = [c.title for c in conditions]
  fig, axes = figures.create(len(titles) + 1, [*titles, "best rho"])
  size = findings.SIZE
  for ax, c in zip(axes, conditions, strict=False):
    table = statistics.summary(
      findings.gains(c.runs, [size, M], c.metric), [size, M]
    )
    figures.gain_curves(ax, table, c.metric, M, by=size)
    figures.legend(ax, "parameters")
  chosen_by = findings.choose_by(main.runs, main.metric)
  chosen = statistics.optimal_rho(main.runs, [size, M], chosen_by)
  figures.best_rho_curves(axes[-1], chosen, size, M)
  figures.legend(axes[-1], "parameters")
  return fig
