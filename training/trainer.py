"""The runs of an experiment on their devices, step by step.

One run, or those of a sweep: vmapped in one call (spread over the devices), or
one call each. What a checkpoint holds is the same for both: with several runs,
every array has a leading axis of runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from data import pipeline
from run_folder import files
from training import evaluation
from training import metrics as metrics_lib
from training import state as state_lib
from training.experiment import Experiment
from training.step import compile_chunk

PyTree = Any


class Part:
  """The runs that one call trains."""

  def __init__(
    self,
    exp: Experiment,
    feed: pipeline.Feed,
    place: evaluation.Place,
    states: Sequence[state_lib.TrainState],
  ):
    self.exp = exp
    self.feed = feed
    self.resident = place(exp.resident("train"), exp)
    empty = metrics_lib.empty(exp.train_metrics, exp.run_axis_size)
    self.no_metrics = place(empty, exp)
    self.metrics = self.no_metrics
    # Not by `place`: steps consume it.
    self.state = jax.device_put(state_lib.stack(states), exp.replicated)

  def items(self) -> dict[str, PyTree]:
    """Returns what is saved of these runs."""
    state = self.state
    training = state.training | {"metrics": self.metrics}
    items = {"weights": state.weights, "training": training}
    # A mask never changes; whoever measures a pruned model needs it.
    return items if state.mask is None else items | {"mask": state.mask}

  def restore(self, items: dict[str, PyTree]) -> None:
    training = dict(items["training"])
    self.metrics = training.pop("metrics")
    self.state = self.state.replace(
      **items["weights"], **training, mask=items.get("mask")
    )


class Trainer:
  """Trains the runs of an experiment.

  Attributes:
    step: training steps taken.
    given_up: indices of the runs that need not be trained any more.
  """

  def __init__(self, exp: Experiment, weights: dict[str, PyTree] | None = None):
    """Creates the initial state.

    Args:
      exp: the experiment, with all its runs.
      weights: what every run starts from; None: new ones, from its seed.
    """
    self.exp = exp
    self.step = 0
    self.given_up: set[int] = set()
    place = _Placer()
    feeds: dict[tuple[int, int], pipeline.Feed] = {}
    states = iter(state_lib.create_states(exp, weights))
    self._parts = [
      Part(
        part, part.create_feed(feeds), place, [next(states) for _ in part.runs]
      )
      for part in exp.split()
    ]
    self._evaluator = evaluation.create([p.exp for p in self._parts], place)
    self._chunks: dict[Any, Callable[..., Any]] = {}
    self._in_flight: list[Any] = []

  def state(self, run: int) -> state_lib.TrainState:
    """Returns the state of a run."""
    places = [(p, i) for p in self._parts for i in range(len(p.exp.runs))]
    part, i = places[run]
    if not part.exp.is_stacked:
      return part.state
    return jax.tree.map(lambda x: x[i], part.state)

  def call(self, limit: int) -> bool:
    """Takes as many steps as one call to the devices can, at most `limit`.

    Where batches are trimmed, it is a call for each stretch of one size.

    Returns:
      Whether it compiled.
    """
    exp = self.exp
    ascend = self.step in exp.sam_steps
    num_steps = min(exp.steps_per_call, limit)
    compiled = False
    # One call runs while the host prepares the next, but no more.
    waiting, self._in_flight = self._in_flight, []
    first_run = 0
    for part in self._parts:
      indices = range(first_run, first_run + len(part.exp.runs))
      first_run = indices.stop
      if self.given_up.issuperset(indices):
        continue
      for first, count, size in pipeline.stretches(
        part.feed, self.step, num_steps
      ):
        key = part.exp.devices, part.exp.run_axis_size, ascend, size
        if key not in self._chunks:
          self._chunks[key] = compile_chunk(part.exp, ascend, size)
          compiled = True
        feed = part.feed.take(first, count, exp.steps_per_call)
        part.state, part.metrics = self._chunks[key](
          part.state, part.metrics, np.int32(count), feed, part.resident
        )
        if part.exp.serialize_calls:
          jax.block_until_ready(part.metrics)
      self._in_flight.append(part.metrics)
    jax.block_until_ready(waiting)
    if compiled:
      jax.block_until_ready(self._in_flight)
    self.step += num_steps
    return compiled

  def train_metrics(self) -> list[metrics_lib.Computed]:
    """Returns the metrics of each run since the last reset."""
    return [run for p in self._parts for run in metrics_lib.compute(p.metrics)]

  def reset_metrics(self) -> None:
    for part in self._parts:
      part.metrics = part.no_metrics

  def evaluate(self) -> list[files.Record]:
    """Returns the evaluation of each run."""
    return self._evaluator([part.state.weights for part in self._parts])

  @property
  def num_devices(self) -> int:
    """Over how many devices the runs are spread."""
    return len({d for part in self._parts for d in part.exp.devices})

  def describe(self) -> str:
    """Returns how the runs are trained, in words."""
    stacked = self._parts[0].exp.is_stacked
    how = "vmapped" if stacked else "one after the other"
    return f"{how} on each of {self.num_devices} devices"

  def count_parameters(self) -> list[dict[str, int]]:
    """Returns the number of parameters of each run, and of unpruned ones."""
    return [
      counts
      for part in self._parts
      for counts in state_lib.count_parameters(part.state, len(part.exp.runs))
    ]

  def abstract_items(self) -> dict[str, PyTree]:
    """Returns the shapes, dtypes and shardings of `items`."""
    part = self._parts[0]
    if len(self._parts) == 1:
      return part.items()
    one_run = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape[part.exp.is_stacked :], x.dtype, sharding=part.exp.replicated
      ),
      part.items(),
    )
    return abstract_checkpoint(self.exp, one_run)

  def items(self) -> dict[str, PyTree]:
    """Returns copies on the host of what resuming needs."""
    return self._join([part.items() for part in self._parts])

  def weights(self) -> PyTree:
    """Returns copies on the host of the weights, as in `items`."""
    return self._join([part.state.weights for part in self._parts])

  def _join(self, trees: list[PyTree]) -> PyTree:
    for array in jax.tree.leaves(trees):
      array.copy_to_host_async()
    if len(trees) == 1:
      return jax.tree.map(np.array, trees[0])
    stacked = [part.exp.is_stacked for part in self._parts]

    def join(*leaves: jax.Array) -> np.ndarray:
      arrays = [np.asarray(x) for x in leaves]
      return np.concatenate(
        [x if s else x[None] for x, s in zip(arrays, stacked, strict=True)]
      )

    return jax.tree.map(join, *trees)

  def restore(self, step: int, items: dict[str, PyTree]) -> None:
    """Goes on from `items` after so many steps."""
    self.step = step
    parts = cut(items, [part.exp for part in self._parts])
    for part, its in zip(self._parts, parts, strict=True):
      part.restore(jax.device_put(its, part.exp.replicated))


def abstract_checkpoint(exp: Experiment, one_run: PyTree) -> PyTree:
  """Returns the shapes of a tree of one run as a checkpoint has it."""
  if not exp.is_stacked:
    return one_run
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      (len(exp.runs), *x.shape), x.dtype, sharding=x.sharding
    ),
    one_run,
  )


def cut(tree: PyTree, parts: Sequence[Experiment]) -> list[PyTree]:
  """Cuts a tree of all runs, as checkpoints have it, into parts."""
  if len(parts) == 1:
    return [tree]
  host = jax.device_get(tree)
  trees, first = [], 0
  for part in parts:
    rows: Any = first
    if part.is_stacked:
      rows = slice(first, first + len(part.runs))
    trees.append(jax.tree.map(lambda x, rows=rows: x[rows], host))
    first += len(part.runs)
  return trees


class _Placer:
  """Puts trees on devices, and an array of the host only once on each."""

  def __init__(self) -> None:
    # With the array, or its id could come to mean another one.
    self._placed: dict[tuple[int, Any], tuple[Any, jax.Array]] = {}

  def __call__(self, tree: PyTree, exp: Experiment) -> PyTree:
    def put(x):
      key = id(x), exp.devices
      if key not in self._placed:
        self._placed[key] = x, jax.device_put(x, exp.replicated)
      return self._placed[key][1]

    return jax.tree.map(put, tree)
