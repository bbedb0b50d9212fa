"""How long cells take: estimated before they train, and while they do.

The estimate counts the floating-point operations of a step and measures, for a
moment, how many of those this machine does in matrix products of the size of a
small network. It is rough; what is left is estimated from the cells that are
over, as soon as there are some.
"""

from collections.abc import Sequence
import functools
import time

import jax
import jax.numpy as jnp
import tqdm

from configs import kinds
from configs import sweep
from data import Dataset
from studies.kit import cells
from training import setup as setup_lib
from training import state

# Measured on 2 CPU cores. Beside its operations, a run needs this much for a
# step, and this much for its records and TensorBoard; a cell needs this much to
# compile for each device; small images, sequences and graphs reach this
# fraction of the speed of matrix products.
STEP_SECONDS = {"lstm": 3e-3, **dict.fromkeys(kinds.GRAPH_MODELS, 1.5e-3)}
OTHER_STEP_SECONDS = 2e-5
RUN_SECONDS = 0.02
COMPILE_SECONDS = {
  **dict.fromkeys(kinds.CONVOLUTIONAL_MODELS, 15.0),
  **dict.fromkeys((*kinds.TEXT_MODELS, "vit"), 10.0),
  **dict.fromkeys(kinds.GRAPH_MODELS, 4.0),
}
OTHER_COMPILE_SECONDS = 2.0
RELATIVE_SPEED = dict.fromkeys(
  (*kinds.IMAGE_MODELS, "transformer", *kinds.GRAPH_MODELS), 0.35
)


@functools.cache
def _flops_per_second() -> float:
  """Returns the speed of one device, in products of 128 x 64 and 64 x 64."""
  a, b = jnp.ones((16, 128, 64)), jnp.ones((16, 64, 64))
  product = jax.jit(
    lambda a, b: jax.lax.fori_loop(0, 50, lambda _, x: x @ b, a)
  )
  product(a, b).block_until_ready()
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < 0.2:
    product(a, b).block_until_ready()
    count += 1
  return count * 50 * 2 * a.size * 64 / (time.perf_counter() - start)


def estimate(cell: cells.Cell, dataset: Dataset) -> float:
  """Returns the estimated seconds of a cell, from the data set of any run."""
  runs = sweep.runs(cell.config)
  setup = setup_lib.create(cell.config, (dataset,) * len(runs))
  c = setup.config
  raw = jnp.zeros((c.batch_size, *setup.dataset.input_shape))
  inputs = setup.dataset.normalize(raw)
  weights = state.abstract_weights(setup)
  variables = {"params": weights["params"], **weights["model_state"]}
  forward = jax.jit(functools.partial(setup.model.apply, train=False))
  costs = forward.lower(variables, inputs).cost_analysis() or {}
  # Backward costs twice as much as forward; SAM does both twice.
  flops = costs.get("flops", 0.0) * 3 * (2 if c.optimizer == "sam" else 1)
  if c.model == "lstm":
    # The body of its loop over the words is counted once. What is outside is
    # then counted too often, which makes up for products that are small.
    flops *= setup.dataset.input_shape[0]
  speed = _flops_per_second() * RELATIVE_SPEED.get(c.model, 1.0)
  parallel = min(jax.local_device_count(), len(runs))
  run_steps = len(runs) * setup.num_steps
  step_seconds = STEP_SECONDS.get(c.model, OTHER_STEP_SECONDS)
  seconds = run_steps * (flops / speed + step_seconds) / parallel
  return (
    seconds
    + RUN_SECONDS * len(runs)
    + COMPILE_SECONDS.get(c.model, OTHER_COMPILE_SECONDS) * parallel
  )


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

  def seconds_left(self, done: float = 0.0) -> float:
    """Returns the seconds left.

    Args:
      done: estimated seconds of what is over of the present cell.
    """
    ratio = self._taken / self._estimated if self._estimated else 1.0
    return max(0.0, ratio * (self._left - done))


def text(seconds: float) -> str:
  """Returns for instance '12:30'."""
  return tqdm.tqdm.format_interval(round(seconds))
