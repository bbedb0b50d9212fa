"""The axis of runs: how the runs of a sweep that train at once are stacked.

Everything of several runs - weights, optimizer states, metrics, labels, feeds -
has a leading axis, one entry a run; of a run alone there is no such axis. No
other file knows of it.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import dataset as dataset_lib
from data import pipeline
from training.placement import Placement

PyTree = Any
# The axis in what `Residents` returns.
RESIDENT = {"inputs": None, "targets": 0, "first_row": 0}


def shape(num_runs: int) -> tuple[int, ...]:
  """Returns the shape of a number of each run."""
  return (num_runs,) if num_runs > 1 else ()


def vmap(
  function: Callable[..., Any], num_runs: int, in_axes: Any = 0
) -> Callable[..., Any]:
  """Returns a function of one run as one of several at once."""
  return jax.vmap(function, in_axes) if num_runs > 1 else function


def stack(trees: Sequence[PyTree]) -> PyTree:
  """Returns a copy of the trees of the runs, stacked."""
  if len(trees) == 1:
    return jax.tree.map(jnp.copy, trees[0])
  return jax.tree.map(lambda *leaves: _stack(leaves), *trees)


def _stack(leaves: Sequence[jax.Array]) -> Any:
  """Returns the leaves stacked, on the host: there it compiles nothing."""
  if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
    data = np.stack([jax.random.key_data(x) for x in leaves])
    return jax.random.wrap_key_data(jnp.asarray(data))
  return np.stack(leaves)


def unstack(tree: PyTree, num_runs: int, axis: int = 0) -> list[PyTree]:
  """Returns the tree of each run."""
  if num_runs == 1:
    return [tree]
  return [
    jax.tree.map(lambda x, r=r: x[(slice(None),) * axis + (r,)], tree)
    for r in range(num_runs)
  ]


def take(tree: PyTree, run: int, num_runs: int) -> PyTree:
  """Returns the tree of one run."""
  return jax.tree.map(lambda x: x[run], tree) if num_runs > 1 else tree


def abstract(one_run: PyTree, num_runs: int) -> PyTree:
  """Returns shapes, dtypes and shardings of several runs, from those of one."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      (*shape(num_runs), *x.shape), x.dtype, sharding=x.sharding
    ),
    one_run,
  )


def abstract_run(stacked: PyTree, num_runs: int, sharding: Any) -> PyTree:
  """Returns shapes and dtypes of one run, from the arrays of several."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape[len(shape(num_runs)) :], x.dtype, sharding=sharding
    ),
    stacked,
  )


def cut(tree: PyTree, sizes: Sequence[int]) -> list[PyTree]:
  """Cuts a tree of all runs into those of parts, on the host.

  Args:
    tree: as a checkpoint has it.
    sizes: number of runs of each part.
  """
  if len(sizes) == 1:
    return [tree]
  host = jax.device_get(tree)
  trees, first = [], 0
  for size in sizes:
    rows: Any = slice(first, first + size) if size > 1 else first
    trees.append(jax.tree.map(lambda x, rows=rows: x[rows], host))
    first += size
  return trees


def join(trees: Sequence[PyTree], sizes: Sequence[int]) -> PyTree:
  """Returns a copy on the host of the trees of parts as one of all runs."""
  for array in jax.tree.leaves(trees):
    array.copy_to_host_async()
  if len(trees) == 1:
    return jax.tree.map(np.array, trees[0])

  def join_leaves(*leaves: jax.Array) -> np.ndarray:
    arrays = [np.asarray(x) for x in leaves]
    return np.concatenate(
      [x if n > 1 else x[None] for x, n in zip(arrays, sizes, strict=True)]
    )

  return jax.tree.map(join_leaves, *trees)


class StackedFeed:
  """The feeds of several runs that step together."""

  def __init__(self, feeds: Sequence[pipeline.Feed]):
    self._distinct: list[pipeline.Feed] = []
    self._places = []
    for feed in feeds:
      if feed not in self._distinct:
        self._distinct.append(feed)
      self._places.append(self._distinct.index(feed))

  def take(self, first_step: int, num_steps: int, pad_to: int) -> PyTree:
    """Returns leaves [D, pad_to, R, B / D, ...]."""
    taken = [f.take(first_step, num_steps, pad_to) for f in self._distinct]
    leaves = [taken[place] for place in self._places]
    return jax.tree.map(lambda *x: np.stack(x, 2), *leaves)

  def sizes(self, first_step: int, num_steps: int) -> np.ndarray:
    """Returns what fits the batches of all runs."""
    sizes = [feed.sizes(first_step, num_steps) for feed in self._distinct]
    return np.max(sizes, axis=0)


def stack_feeds(feeds: Sequence[pipeline.Feed]) -> pipeline.Feed:
  """Returns the feed of runs that step together."""
  return StackedFeed(feeds) if len(feeds) > 1 else feeds[0]


class Residents:
  """The examples that stay on the devices, each there once."""

  def __init__(self) -> None:
    self._placed: dict[Hashable, jax.Array] = {}

  def place(
    self,
    datasets: Sequence[dataset_lib.Dataset],
    split: str,
    placement: Placement,
  ) -> PyTree:
    """Returns what of a split stays on the devices; nothing of a stream.

    Args:
      datasets: those of the runs of the placement.
      split: its name.
      placement: where they are trained.

    Returns:
      'inputs' [N, ...] (those of the distinct data sets, one after the other),
      'targets' ([N, ...], or [R, N, ...] of R runs) and the 'first_row' of the
      inputs of each run (a scalar, or [R]).
    """
    arrays = [
      s
      for s in (dataset.splits[split] for dataset in datasets)
      if isinstance(s, dataset_lib.ArraySplit)
    ]
    if not arrays:
      return {}
    distinct, rows, num_rows = {}, {}, 0
    for dataset, of_run in zip(datasets, arrays, strict=True):
      if dataset.examples not in distinct:
        distinct[dataset.examples] = of_run.inputs
        rows[dataset.examples] = num_rows
        num_rows += of_run.num_examples

    def inputs() -> np.ndarray:
      several = list(distinct.values())
      return several[0] if len(several) == 1 else np.concatenate(several)

    def targets() -> np.ndarray:
      several = [s.targets for s in arrays]
      return several[0] if len(several) == 1 else np.stack(several)

    first_rows = np.array([rows[d.examples] for d in datasets], np.int32)
    labels = tuple(dataset.key(split) for dataset in datasets)
    return {
      "inputs": self._once((split, *distinct), inputs, placement),
      "targets": self._once(labels, targets, placement),
      "first_row": jax.device_put(
        first_rows if len(datasets) > 1 else first_rows[0],
        placement.replicated,
      ),
    }

  def _once(
    self,
    key: Hashable,
    make: Callable[[], np.ndarray],
    placement: Placement,
  ) -> jax.Array:
    """Returns an array on the devices, where it may be already."""
    where = key, placement.devices
    if where not in self._placed:
      self._placed[where] = jax.device_put(make(), placement.replicated)
    return self._placed[where]
