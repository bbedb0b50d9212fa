"""The axis of runs: how the runs of a sweep that train at once are stacked.

Everything of several runs - weights, optimizer states, metrics, labels, feeds -
has a leading axis, one entry a run; of a run alone there is no such axis. On
devices among which runs are spread it is [devices, runs of each], the last runs
repeated until all have as many. No other file knows of it.
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
# The axis of runs, or of devices that have runs, in what `Residents` returns.
RESIDENT = {"inputs": None, "targets": 0, "first_row": 0}


def device_axes(placement: Placement) -> tuple[int | None, Any]:
  """Returns the axis of devices in what runs have, and in the residents.

  None: all devices have the same.
  """
  return (0, RESIDENT) if placement.rows else (None, None)


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


def place(trees: Sequence[PyTree], placement: Placement) -> PyTree:
  """Returns a copy of the trees of the runs, stacked, where they are trained.

  Args:
    trees: of each run of the placement.
    placement: where.
  """
  if not placement.rows:
    return jax.device_put(stack(trees), placement.of_runs)
  stacked = stack(_padded(trees, placement))
  return jax.device_put(_split(stacked, placement), placement.of_runs)


def _padded(values: Sequence[Any], placement: Placement) -> list[Any]:
  """Returns one for each place of a run on the devices."""
  num = placement.rows * len(placement.devices) or placement.num_runs
  return [*values, *[values[-1]] * (num - len(values))]


def _split(stacked: PyTree, placement: Placement) -> PyTree:
  """Returns arrays [devices * rows, ...] as [devices, rows, ...]."""
  shape_of_runs = len(placement.devices), *shape(placement.rows)
  return jax.tree.map(
    lambda x: x.reshape(*shape_of_runs, *x.shape[1:]), stacked
  )


def put(stacked: PyTree, placement: Placement) -> PyTree:
  """Returns arrays [R, ...] of the runs where they are trained."""
  if not placement.rows:
    return jax.device_put(stacked, placement.of_runs)
  rows = np.array(_padded(range(placement.num_runs), placement))
  padded = jax.tree.map(lambda x: np.asarray(x)[rows], jax.device_get(stacked))
  return jax.device_put(_split(padded, placement), placement.of_runs)


def eval_batch(batch: PyTree, placement: Placement) -> PyTree:
  """Returns a batch [D, B / D, ...] as each of the devices gets it.

  Where runs are spread it is for all of them, and has no axis of devices.
  """
  return jax.tree.map(lambda x: x[0], batch) if placement.rows else batch


def fetch_outputs(outputs: jax.Array, placement: Placement) -> np.ndarray:
  """Returns outputs [D, B / D, ...], or [D, R, B / D, ...], on the host."""
  if not placement.rows:
    return np.asarray(outputs)
  return fetch(outputs, placement)[None]


def _num_axes(placement: Placement) -> int:
  """Returns how many axes come before those of a run, on the devices."""
  if placement.rows:
    return 1 + len(shape(placement.rows))
  return len(shape(placement.num_runs))


def fetch(tree: PyTree, placement: Placement) -> PyTree:
  """Returns arrays [R, ...] of the runs on the host, perhaps not copied."""
  if not placement.rows:
    return jax.device_get(tree)
  axes = _num_axes(placement)

  def merge(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, *x.shape[axes:])[: placement.num_runs]

  return jax.tree.map(merge, jax.device_get(tree))


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


def take_placed(tree: PyTree, index: int, placement: Placement) -> PyTree:
  """Returns the tree of one run of a placement, from what `place` returned."""
  if not placement.rows:
    return take(tree, index, placement.num_runs)
  device, row = divmod(index, placement.rows)
  return take(jax.tree.map(lambda x: x[device], tree), row, placement.rows)


def abstract(one_run: PyTree, num_runs: int) -> PyTree:
  """Returns shapes, dtypes and shardings of several runs, from those of one."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      (*shape(num_runs), *x.shape), x.dtype, sharding=x.sharding
    ),
    one_run,
  )


def abstract_run(placed: PyTree, placement: Placement) -> PyTree:
  """Returns shapes and dtypes of one run, from what `place` returned."""
  axes = _num_axes(placement)
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape[axes:], x.dtype, sharding=placement.replicated
    ),
    placed,
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


def join(trees: Sequence[PyTree], placements: Sequence[Placement]) -> PyTree:
  """Returns a copy on the host of the trees of parts as one of all runs."""
  for array in jax.tree.leaves(trees):
    array.copy_to_host_async()
  parts = [fetch(t, p) for t, p in zip(trees, placements, strict=True)]
  if len(parts) == 1:
    return jax.tree.map(np.array, parts[0])
  is_stacked = [place.num_runs > 1 for place in placements]

  def join_leaves(*leaves: np.ndarray) -> np.ndarray:
    return np.concatenate(
      [x if s else x[None] for x, s in zip(leaves, is_stacked, strict=True)]
    )

  return jax.tree.map(join_leaves, *parts)


class StackedFeed:
  """The feeds of several runs that step together."""

  def __init__(self, feeds: Sequence[pipeline.Feed], rows: int = 0):
    """Stacks feeds; with `rows`, so many for each device."""
    self._rows = rows
    self._distinct: list[pipeline.Feed] = []
    self._places = []
    for feed in feeds:
      if feed not in self._distinct:
        self._distinct.append(feed)
      self._places.append(self._distinct.index(feed))

  def take(self, first_step: int, num_steps: int, pad_to: int) -> PyTree:
    """Returns leaves [D, pad_to, R, B / D, ...]; with rows, R of a device."""
    taken = [f.take(first_step, num_steps, pad_to) for f in self._distinct]
    leaves = [taken[place] for place in self._places]
    rows = self._rows or len(leaves)
    if rows == 1:
      return jax.tree.map(lambda *x: np.concatenate(x), *leaves)
    of_devices = [
      jax.tree.map(lambda *x: np.stack(x, 2), *leaves[i : i + rows])
      for i in range(0, len(leaves), rows)
    ]
    return jax.tree.map(lambda *x: np.concatenate(x), *of_devices)

  def sizes(self, first_step: int, num_steps: int) -> np.ndarray:
    """Returns what fits the batches of all runs."""
    sizes = [feed.sizes(first_step, num_steps) for feed in self._distinct]
    return np.max(sizes, axis=0)


def stack_feeds(
  feeds: Sequence[pipeline.Feed], placement: Placement
) -> pipeline.Feed:
  """Returns the feed of the runs of a placement."""
  if len(feeds) == 1:
    return feeds[0]
  return StackedFeed(_padded(feeds, placement), placement.rows)


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
      inputs of each run (a scalar, or [R]); of spread runs [D, rows, ...].
    """
    datasets = _padded(datasets, placement)
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

    def of_runs(values: Sequence[Any]) -> np.ndarray:
      if len(values) == 1:
        return values[0]
      stacked = np.stack(values)
      return _split(stacked, placement) if placement.rows else stacked

    first_rows = [np.int32(rows[d.examples]) for d in datasets]
    labels = tuple(dataset.key(split) for dataset in datasets)
    return {
      "inputs": self._once(
        (split, *distinct), inputs, placement.devices, placement.replicated
      ),
      "targets": self._once(
        labels,
        lambda: of_runs([s.targets for s in arrays]),
        placement.devices,
        placement.of_runs,
      ),
      "first_row": jax.device_put(of_runs(first_rows), placement.of_runs),
    }

  def _once(
    self,
    key: Hashable,
    make: Callable[[], np.ndarray],
    devices: tuple[jax.Device, ...],
    sharding: jax.sharding.Sharding,
  ) -> jax.Array:
    """Returns an array on the devices, where it may be already."""
    where = key, devices
    if where not in self._placed:
      self._placed[where] = jax.device_put(make(), sharding)
    return self._placed[where]
