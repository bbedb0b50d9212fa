"""What several benchmarks time: the compiled chunk on data that lies ready."""

import statistics
import time
from typing import Any

import jax
import numpy as np

from configs import base
from data import dataset as dataset_lib
from training import metrics
from training import placement
from training import run_axis
from training import setup as setup_lib
from training import state as state_lib
from training import step


def random_images(shape: tuple[int, ...], size: int) -> dataset_lib.Dataset:
  """Returns noise of the shape of a data set, with its normalization."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
  split = dataset_lib.ArraySplit(images, rng.integers(0, 10, size))
  return dataset_lib.Dataset(
    name="noise",
    splits={"train": split, "test": split},
    input_shape=shape,
    num_outputs=10,
    num_classes=10,
    normalize=dataset_lib.image_normalizer((0.5,), (0.25,)),
  )


def create_setup(shape: tuple[int, ...], **fields: Any) -> setup_lib.Setup:
  """Returns the setup of a config on 1,280 random images."""
  return setup_lib.create(create_config(**fields), random_images(shape, 1280))


class Chunks:
  """The compiled chunk on data that lies ready."""

  def __init__(
    self, setup: setup_lib.Setup, ascend: bool, static: bool = False
  ):
    """Compiles; with `static`, for this number of steps alone."""
    place = placement.Placement((0,), tuple(jax.devices()))
    self.steps = placement.steps_per_call(
      setup.config, streamed=False, convolutional=setup.is_convolutional
    )
    self._state = run_axis.place(state_lib.create_states(setup), place)
    empty = metrics.empty(setup.train_metrics)
    self._metrics = run_axis.place([empty], place)
    self._resident = run_axis.Residents().place(setup.datasets, "train", place)
    (feed,) = state_lib.create_feeds(setup, place.num_devices)
    self._feed = feed.take(0, self.steps, self.steps)
    chunk = step.compile_chunk(setup, place, self.steps, ascend=ascend)
    count = np.int32(self.steps)
    self._chunk = chunk
    if static:
      # Within a program, XLA sees that the number of steps is a constant.
      self._chunk = jax.jit(
        lambda state, metrics, _, *data: chunk(state, metrics, count, *data),
        donate_argnums=0,
      )
    self.seconds(1)  # Compiles.

  def seconds(self, num_calls: int) -> float:
    """Returns how long so many calls take."""
    count = np.int32(self.steps)
    start = time.perf_counter()
    for _ in range(num_calls):
      # The loop, too, has at most one call in flight beside the next.
      waiting = self._metrics
      self._state, self._metrics = self._chunk(
        self._state, self._metrics, count, self._feed, self._resident
      )
      jax.block_until_ready(waiting)
    jax.block_until_ready(self._metrics)
    return time.perf_counter() - start


def in_turn(
  sides: dict[str, Chunks], seconds: float, repeats: int
) -> dict[str, float]:
  """Returns the milliseconds of a step of each side: medians of repeats.

  Args:
    sides: by name.
    seconds: that one timing of the last side takes, about.
    repeats: timings of each.
  """
  one_call = list(sides.values())[-1].seconds(1)
  num_calls = max(2, round(seconds / one_call))
  times: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(repeats):
    for side, chunks in sides.items():
      steps = num_calls * chunks.steps
      times[side].append(1e3 * chunks.seconds(num_calls) / steps)
  return {side: statistics.median(times[side]) for side in sides}


def last_over_first(
  name: str, sides: dict[str, Chunks], seconds: float, repeats: int
) -> dict[str, Any]:
  """Returns `in_turn` of two sides as a row: both, and their ratio."""
  found = in_turn(sides, seconds, repeats)
  first, last = found.values()
  times = {f"{side}_ms": value for side, value in found.items()}
  return {"model": name, **times, "ratio": last / first}


def create_config(**fields: Any):
  config = base.get_config()
  config.update(fields)
  base.check(config)
  return config
