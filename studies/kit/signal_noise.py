"""Grids of signal and noise, whose cells are computed in inner products.

With the settings of configs/signal_noise.py; see `theory.signal_noise_grid`.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from configs import signal_noise as workload
from studies.kit.study import ComputedCell
from theory import signal_noise
from theory import signal_noise_grid

GD, SAM, THEORY = "GD", "SAM, tau 0.03", "SAM, theory's tau"
# The radii of the methods; that of `THEORY` depends on the dimension.
TAUS = {GD: 0.0, SAM: 0.03, "SAM, tau 0.1": 0.1, "SAM, tau 0.3": 0.3}
# Of the largest initial scale that Condition 3.1 allows.
SMALL = 0.1
CONFIG = workload.get_config()
DATA = {
  "num_train": CONFIG.num_train,
  "num_patches": CONFIG.num_patches,
  "noise_scale": CONFIG.noise_scale,
}


def _theory_tau(dim: int, batch_size: int) -> float:
  return signal_noise.theory_tau(
    dim,
    num_filters=CONFIG.num_filters,
    batch_size=batch_size,
    num_patches=CONFIG.num_patches,
    noise_scale=CONFIG.noise_scale,
  )


@dataclasses.dataclass(frozen=True)
class Part:
  """Runs for one purpose; a cell for each dimension.

  Attributes:
    name: a label of its runs.
    dims: values of d.
    norms: values of ||mu||.
    methods: of `TAUS`, and `THEORY`.
    learning_rates: their values.
    batch_size: examples in a step.
    then_gd: epochs without a perturbation after the others.
    init: 'uniform', or 'small', which is `SMALL` times Condition 3.1's largest.
    num_seeds: data sets and initial filters.
  """

  name: str
  dims: Sequence[int]
  norms: Sequence[float]
  methods: Sequence[str] = (GD, SAM)
  learning_rates: Sequence[float] = (CONFIG.learning_rate,)
  batch_size: int = CONFIG.batch_size
  then_gd: int = 0
  init: str = "uniform"
  num_seeds: int = 10

  def cells(self) -> list[ComputedCell]:
    runs = len(self.norms), len(self.methods), len(self.learning_rates)
    return [
      ComputedCell(
        f"{self.name}-d{dim}",
        {
          "dim": dim,
          "norms": list(self.norms),
          "taus": {
            method: TAUS.get(method, _theory_tau(dim, self.batch_size))
            for method in self.methods
          },
          "learning_rates": list(self.learning_rates),
          "batch_size": self.batch_size,
          "init": self.init,
          "num_epochs": CONFIG.num_epochs,
          "then_gd": self.then_gd,
          "num_filters": CONFIG.num_filters,
          "num_seeds": self.num_seeds,
          **DATA,
        },
        num_runs=math.prod(runs) * self.num_seeds,
        labels={"part": self.name},
      )
      for dim in self.dims
    ]


def compute(cell: ComputedCell) -> list[dict[str, Any]]:
  """Returns a row for each norm, method, learning rate and seed."""
  settings = dict(cell.settings)
  return signal_noise_grid.rows(
    init_share=SMALL if settings.pop("init") == "small" else None,
    with_course=cell.labels["part"] == "course",
    **settings,
  )
