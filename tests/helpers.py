"""Small experiments for tests."""

from typing import Any

import jax
import numpy as np

from configs import base
from data import dataset as dataset_lib
import experiment
import metrics
import state as state_lib
import train

# Seconds until a program that does not end counts as hung. Among twenty busy
# processes, two cores have taken minutes for what takes seconds alone.
PATIENCE = 1800


def config(**fields: Any):
  """Returns the default config with these fields."""
  c = base.get_config()
  c.update(fields)
  base.check(c)
  return c


def toy_dataset(
  num_train: int = 64, shape: tuple[int, ...] = (8, 8, 1), seed: int = 0
) -> dataset_lib.Dataset:
  """Returns random images of 4 classes; every split is another draw."""
  rng = np.random.default_rng(seed)

  def split(size: int) -> dataset_lib.ArraySplit:
    images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
    return dataset_lib.ArraySplit(images, rng.integers(0, 4, size))

  return dataset_lib.Dataset(
    name="toy",
    splits={"train": split(num_train), "test": split(37)},
    input_shape=shape,
    num_outputs=4,
    num_classes=4,
    normalize=dataset_lib.image_normalizer((0.5,), (0.25,)),
  )


class Trainer:
  """The production chunk, step by step, without files."""

  def __init__(self, c, dataset, num_devices: int = 1):
    self.exp = experiment.create(c, dataset, jax.devices()[:num_devices])
    self.feed = self.exp.create_feed()
    place = self.exp.replicated
    self.resident = jax.device_put(self.exp.resident("train"), place)
    self.state = jax.device_put(
      state_lib.stack(state_lib.create_states(self.exp)), place
    )
    self.metrics = jax.device_put(metrics.empty(self.exp.train_metrics), place)
    self.step = 0
    self._chunks: dict[bool, Any] = {}

  def run(self, num_steps: int, ascend: bool | None = None):
    """Takes steps and returns the state; `ascend` overrides the config."""
    end = self.step + num_steps
    while self.step < end:
      on = self.step in self.exp.sam_steps if ascend is None else ascend
      if on not in self._chunks:
        self._chunks[on] = train.compile_chunk(self.exp, on)
      count = min(self.exp.steps_per_call, end - self.step)
      feed = self.feed.take(self.step, count, self.exp.steps_per_call)
      self.state, self.metrics = jax.block_until_ready(
        self._chunks[on](
          self.state, self.metrics, np.int32(count), feed, self.resident
        )
      )
      self.step += count
    return self.state


def max_difference(a: Any, b: Any) -> float:
  """Returns the largest absolute difference between the leaves of trees."""
  a, b = jax.device_get((a, b))
  gaps = jax.tree.map(lambda x, y: np.max(np.abs(x - y), initial=0), a, b)
  return float(max(jax.tree.leaves(gaps)))


def assert_same_bits(a: Any, b: Any) -> None:
  """Fails unless all leaves of two trees have the same bits."""
  paths_a, paths_b = (jax.tree_util.tree_leaves_with_path(t) for t in (a, b))
  assert [p for p, _ in paths_a] == [p for p, _ in paths_b]
  for (path, x), (_, y) in zip(paths_a, paths_b, strict=True):
    name = jax.tree_util.keystr(path)
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype, name
    assert x.tobytes() == y.tobytes(), name
