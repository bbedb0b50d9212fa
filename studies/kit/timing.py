"""How long cells take: estimated before they train, and while they do.

The estimate counts the floating-point operations of a step and measures, for a
moment, how many of those this machine does in matrix products of the size of a
small network. What a wide, shallow network moves through memory takes longer
than its products, and is counted, too, as is the gathering of a batch. It is
rough; what is left is estimated from the cells that are over, as soon as there
are some.
"""

from collections.abc import Sequence
import dataclasses
import functools
import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import tqdm

from configs import kinds
from configs import sweep
from data import Dataset
from studies.kit.study import TrainedCell
from training import setup as setup_lib
from training import state

# What a run takes for its records and TensorBoard, on 2 CPU cores.
RUN_SECONDS = 0.02
# What a forward pass reads and writes of these stays near to a core.
CACHE_BYTES = 7.5e5
# How fast a step gathers its batch, and scales it.
BATCH_BYTES_PER_SECOND = 2e9


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a model costs beside its operations, measured on 2 CPU cores.

  Attributes:
    compile_seconds: of a cell.
    step_seconds: of a step of a run, without its batch.
    relative_speed: which fraction of the speed of matrix products it reaches.
    bytes_per_second: beyond the cache; inf: in the relative speed.
  """

  compile_seconds: float = 2.0
  step_seconds: float = 4e-6
  relative_speed: float = 0.8
  bytes_per_second: float = 6e10


def _other(
  compile_seconds: float,
  step_seconds: float = Cost.step_seconds,
  speed: float = 1.0,
) -> Cost:
  """Returns what any model costs that is no MLP."""
  return Cost(compile_seconds, step_seconds, speed, math.inf)


_CONVOLUTIONAL = _other(30.0, speed=0.35)
_ATTENTION = _other(20.0, speed=0.35)
COSTS = {
  **dict.fromkeys((*kinds.RESNETS, "vgg11"), _CONVOLUTIONAL),
  "actor_critic": _other(30.0),
  "vit": _ATTENTION,
  "transformer": _ATTENTION,
  "lstm": _other(20.0, step_seconds=3e-3),
  "gcn": _other(8.0, step_seconds=1.5e-3, speed=0.35),
}


class Estimate(NamedTuple):
  """What a cell takes.

  Attributes:
    seconds: on this machine.
    flops: floating-point operations of its steps, for any other machine.
  """

  seconds: float
  flops: float = 0.0


@functools.cache
def _flops_per_second() -> float:
  """Returns the speed of one device, in products of 128 x 64 and 64 x 64."""
  a, b = jnp.ones((16, 128, 64)), jnp.ones((16, 64, 64))
  product = jax.jit(
    lambda a, b: jax.lax.fori_loop(0, 50, lambda _, x: x @ b, a)
  )
  product(a, b).block_until_ready()
  times = []
  end = time.perf_counter() + 0.5
  while time.perf_counter() < end:
    start = time.perf_counter()
    product(a, b).block_until_ready()
    times.append(time.perf_counter() - start)
  # What else runs here takes some of them longer.
  return 50 * 2 * a.size * 64 / min(times)


def estimate(cell: TrainedCell, dataset: Dataset) -> Estimate:
  """Returns what a cell takes to train, from the data set of any run."""
  runs = sweep.runs(cell.config)
  setup = setup_lib.create(cell.config, (dataset,) * len(runs))
  c = setup.config
  raw = jnp.zeros((c.batch_size, *setup.dataset.input_shape))
  inputs = setup.dataset.normalize(raw)
  weights = state.abstract_weights(setup)
  variables = {"params": weights["params"], **weights["model_state"]}
  forward = jax.jit(functools.partial(setup.model.apply, train=False))
  costs = forward.lower(variables, inputs).cost_analysis() or {}
  # Backward costs twice as much as forward; SAM does both twice. Half of a
  # linearized network is at the first weights, and is not differentiated.
  passes = (2 if c.lazy_alpha else 3) * (2 if c.optimizer == "sam" else 1)
  flops = passes * costs.get("flops", 0.0)
  moved = passes * max(0.0, costs.get("bytes accessed", 0.0) - CACHE_BYTES)
  if c.model == "lstm":
    # The body of its loop over the words is counted once. What is outside is
    # then counted too often, which makes up for products that are small.
    flops *= setup.dataset.input_shape[0]
  cost = COSTS.get(c.model, Cost())
  speed = _flops_per_second() * cost.relative_speed
  parallel = min(jax.local_device_count(), len(runs))
  run_steps = len(runs) * setup.num_steps
  step_seconds = (
    flops / speed
    + moved / cost.bytes_per_second
    + raw.nbytes / BATCH_BYTES_PER_SECOND
    + cost.step_seconds
  )
  seconds = run_steps * step_seconds / parallel
  seconds += RUN_SECONDS * len(runs) + cost.compile_seconds
  return Estimate(seconds, run_steps * flops)


class Clock:
  """Says how long the rest takes, while cells train."""

  def __init__(self, estimates: Sequence[float]):
    self._left = sum(estimates)
    self._estimated = 0.0
    self._taken = 0.0

  def over(self, estimate: float, seconds: float) -> None:
    """Notes that a cell took so long."""
    self._left -= estimate
    self._estimated += estimate
    self._taken += seconds

  @property
  def ratio(self) -> float:
    """Seconds that cells took, for each second estimated."""
    return self._taken / self._estimated if self._estimated else 1.0

  def seconds_left(self, done: float = 0.0) -> float:
    """Returns the seconds left.

    Args:
      done: estimated seconds of what is over of the present cells.
    """
    return max(0.0, self.ratio * (self._left - done))


def text(seconds: float) -> str:
  """Returns for instance '12:30'."""
  return tqdm.tqdm.format_interval(round(seconds))
