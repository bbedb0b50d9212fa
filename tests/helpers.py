"""Small experiments for tests."""

from typing import Any

import jax
import numpy as np

from configs import base
from data import dataset as dataset_lib
from training import evaluation
from training import metrics
from training import placement
from training import run_axis
from training import setup as setup_lib
from training import state as state_lib
from training import step as step_lib


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
    self.setup = setup_lib.create(c, dataset)
    self.placement = placement.Placement(
      (0,), tuple(jax.devices()[:num_devices])
    )
    self._steps_per_call = placement.steps_per_call(
      c, streamed=False, convolutional=self.setup.is_convolutional
    )
    (self.feed,) = state_lib.create_feeds(self.setup, num_devices)
    self.resident = run_axis.Residents().place(
      self.setup.datasets, "train", self.placement
    )
    states = state_lib.create_states(self.setup)
    self.state = run_axis.place(states, self.placement)
    empty = metrics.empty(self.setup.train_metrics)
    self.metrics = run_axis.place([empty], self.placement)
    self.step = 0
    self._chunks: dict[bool, Any] = {}

  def run(self, num_steps: int, ascend: bool | None = None):
    """Takes steps and returns the state; `ascend` overrides the config."""
    end = self.step + num_steps
    while self.step < end:
      on = self.step in self.setup.sam_steps if ascend is None else ascend
      if on not in self._chunks:
        self._chunks[on] = step_lib.compile_chunk(
          self.setup, self.placement, self._steps_per_call, ascend=on
        )
      count = min(self._steps_per_call, end - self.step)
      feed = self.feed.take(self.step, count, self._steps_per_call)
      self.state, self.metrics = jax.block_until_ready(
        self._chunks[on](
          self.state, self.metrics, np.int32(count), feed, self.resident
        )
      )
      self.step += count
    return self.state

  def evaluate(self):
    """Returns the evaluation of the run, in a list."""
    return evaluation.Evaluator(
      self.setup, [self.placement], run_axis.Residents()
    )([self.state.weights])


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
