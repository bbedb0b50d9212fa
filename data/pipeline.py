"""What feeds the training step: indices into resident data, or a stream.

Data order depends on the seed and the step alone, so any step of any run can
be rebuilt, and a resumed run sees what an uninterrupted one would have seen.
"""

from collections.abc import Iterator
import itertools
from typing import Any, Protocol

import jax
import numpy as np

from data import bucketing
from data import dataset

PyTree = Any


class EpochOrders:
  """The order of the training examples in each epoch: epoch -> int32 [N]."""

  def __init__(self, seed: int, num_examples: int):
    self._num_examples = num_examples
    # One for all epochs, since a new one takes entropy, which takes longer than
    # the order of few examples.
    self._bits = np.random.Philox(key=seed)
    self._start: Any = self._bits.state
    self._generator = np.random.Generator(self._bits)

  def __call__(self, epoch: int) -> np.ndarray:
    """Returns what depends on seed and epoch alone."""
    self._start["state"]["counter"][:] = 0, 0, 0, epoch
    self._bits.state = self._start
    return self._generator.permutation(self._num_examples).astype(np.int32)


class Feed(Protocol):
  """Training data on its way to the step."""

  def take(self, first_step: int, num_steps: int, pad_to: int) -> PyTree:
    """Returns what the steps need, leaves [D, pad_to, B / D, ...].

    Entries beyond `num_steps` are padding. Calls go forward in steps.
    """

  def sizes(self, first_step: int, num_steps: int) -> np.ndarray:
    """Returns what the batch of each step is trimmed to, [num_steps, K].

    K is 0 if batches are not trimmed; see `bucketing`.
    """


def stretches(
  feed: Feed, first_step: int, num_steps: int
) -> Iterator[tuple[int, int, bucketing.Size]]:
  """Yields (first step, number of steps, size) of the steps of one size."""
  sizes = feed.sizes(first_step, num_steps)
  changes = 1 + np.flatnonzero(np.any(sizes[1:] != sizes[:-1], axis=1))
  for first, end in itertools.pairwise((0, *changes.tolist(), num_steps)):
    yield first_step + first, end - first, tuple(sizes[first].tolist())


def _untrimmed(num_steps: int) -> np.ndarray:
  return np.empty((num_steps, 0), int)


class ResidentFeed:
  """Sends indices; examples are gathered from resident arrays in the step."""

  def __init__(
    self,
    split: dataset.ArraySplit,
    *,
    seed: int,
    batch_size: int,
    num_devices: int,
    buckets: bucketing.Buckets | None = None,
    part: dataset.Part = dataset.WHOLE,
  ):
    self._part = part
    self._buckets = buckets
    self._orders = EpochOrders(seed, split.num_examples)
    self._steps_per_epoch = split.num_examples // batch_size
    self._batch_size = batch_size
    self._num_devices = num_devices
    self._epoch = -1
    self._batches = np.empty((0, batch_size), np.int32)

  def rest_of_epoch(self, step: int) -> np.ndarray:
    """Returns the indices of the examples from a step on, int32 [S, B]."""
    epoch, i = divmod(step, self._steps_per_epoch)
    if epoch != self._epoch:
      used = self._orders(epoch)[: self._steps_per_epoch * self._batch_size]
      self._batches = used.reshape(-1, self._batch_size)
      if self._buckets is not None:
        self._batches = self._buckets.regroup(self._batches, epoch)
      self._epoch = epoch
    return self._batches[i:]

  def take(self, first_step: int, num_steps: int, pad_to: int) -> PyTree:
    indices = np.zeros((pad_to, self._batch_size), np.int32)
    done = 0
    while done < num_steps:
      batches = self.rest_of_epoch(first_step + done)[: num_steps - done]
      indices[done : done + len(batches)] = batches
      done += len(batches)
    return {"indices": _mine(_spread(indices, self._num_devices), self._part)}

  def sizes(self, first_step: int, num_steps: int) -> np.ndarray:
    if self._buckets is None:
      return _untrimmed(num_steps)
    batches = (self.rest_of_epoch(first_step + i)[0] for i in range(num_steps))
    return np.stack([self._buckets.size_of(batch) for batch in batches])


class StreamFeed:
  """Sends the examples themselves, as they are read; of a part, its own."""

  def __init__(
    self,
    split: dataset.StreamSplit,
    *,
    seed: int,
    batch_size: int,
    num_devices: int,
    part: dataset.Part = dataset.WHOLE,
  ):
    self._split = split.of_part(part)
    self._seed = seed
    self._batch_size = batch_size
    self._num_devices = num_devices // part[1]
    self._next_step = -1
    self._batches: Iterator[dataset.Batch] = iter(())
    self._taken: tuple[tuple[int, int, int], PyTree] | None = None

  def take(self, first_step: int, num_steps: int, pad_to: int) -> PyTree:
    wanted = first_step, num_steps, pad_to
    if self._taken is not None and self._taken[0] == wanted:
      return self._taken[1]  # Runs of one stream take the same in turn.
    if first_step != self._next_step:
      self._batches = self._split.train_batches(
        self._seed, first_step, self._batch_size
      )
    self._next_step = first_step + num_steps
    batches = [next(self._batches) for _ in range(num_steps)]
    batches += batches[-1:] * (pad_to - num_steps)
    taken = {
      name: _spread(np.stack([b[name] for b in batches]), self._num_devices)
      for name in ("inputs", "targets")
    }
    self._taken = wanted, taken
    return taken

  def sizes(self, first_step: int, num_steps: int) -> np.ndarray:
    return _untrimmed(num_steps)


def create_feed(
  split: dataset.Split,
  *,
  seed: int,
  batch_size: int,
  num_devices: int,
  buckets: bucketing.Buckets | None = None,
  part: dataset.Part = dataset.WHOLE,
) -> Feed:
  """Returns the feed of a training split; that of a stream has no buckets.

  Args:
    split: what is trained on.
    seed: of the order.
    batch_size: over all devices.
    num_devices: over which a batch is spread, in all parts.
    buckets: by which batches are made of examples of about one size.
    part: of each batch that is wanted, for so many of the devices.
  """
  fields = {"seed": seed, "batch_size": batch_size, "num_devices": num_devices}
  if isinstance(split, dataset.ArraySplit):
    return ResidentFeed(split, buckets=buckets, part=part, **fields)
  assert buckets is None, "streams have no buckets"
  return StreamFeed(split, part=part, **fields)


def _mine(x: np.ndarray, part: dataset.Part) -> np.ndarray:
  """Returns the rows of a part."""
  index, count = part
  size = len(x) // count
  return x[index * size : (index + 1) * size]


def _spread(x: np.ndarray, num_devices: int) -> np.ndarray:
  """[T, B, ...] -> [D, T, B / D, ...]; device d has the d-th part."""
  num_steps, batch_size, *rest = x.shape
  x = x.reshape(num_steps, num_devices, batch_size // num_devices, *rest)
  return np.ascontiguousarray(x.swapaxes(0, 1))


def batch_from(resident: PyTree, feed: PyTree) -> dict[str, jax.Array]:
  """Returns raw 'inputs' and 'targets' [B, ...]; runs inside the step."""
  if "indices" not in feed:
    return feed
  rows = feed["indices"]
  return {
    "inputs": resident["inputs"][rows + resident["first_row"]],
    "targets": resident["targets"][rows],
  }


def eval_batches(
  split: dataset.Split,
  batch_size: int,
  num_devices: int,
  sizes_NxK: np.ndarray,
  part: dataset.Part = dataset.WHOLE,
) -> Iterator[tuple[PyTree, int, bucketing.Size]]:
  """Yields (batch, number of its examples, size) until each was seen once.

  Args:
    split: what is evaluated.
    batch_size: over all devices; a multiple of `num_devices`.
    num_devices: D.
    sizes_NxK: of the examples, by which those of an array split are sorted.
    part: of each batch that is wanted.

  Yields:
    Leaves [D, B / D, ...] with 'mask', which is False on the padding of the
    last batch; beside it 'inputs' and 'targets' for streams, 'indices' else.
    Of a part, they have so many of the D. The number of examples, and the size
    that all of them fit into, are those of the whole batch.
  """
  if isinstance(split, dataset.StreamSplit):
    yield from _stream_batches(split, batch_size, num_devices, part)
    return
  indices = bucketing.by_size(sizes_NxK).astype(np.int32)
  for first in range(0, split.num_examples, batch_size):
    of_batch = indices[first : first + batch_size]
    batch = {
      "indices": _pad(of_batch, batch_size),
      "mask": np.arange(batch_size) < len(of_batch),
    }
    # Also what fills up a batch fits: an edge beyond the nodes of its graph
    # would lead to another graph.
    size = tuple(sizes_NxK[batch["indices"]].max(0).tolist())
    spread = {n: _spread_batch(x, num_devices) for n, x in batch.items()}
    yield {n: _mine(x, part) for n, x in spread.items()}, len(of_batch), size


def _stream_batches(
  split: dataset.StreamSplit,
  batch_size: int,
  num_devices: int,
  part: dataset.Part,
) -> Iterator[tuple[PyTree, int, bucketing.Size]]:
  """Yields the batches of a stream; see `eval_batches`."""
  index, count = part
  size = batch_size // count
  batches = split.of_part(part).eval_batches(batch_size)
  batch: dataset.Batch | None = None
  for first in range(0, split.num_examples, batch_size):
    of_all = min(split.num_examples - first, batch_size)
    if of_all > index * size:
      batch = next(batches)
      num_mine = len(batch["targets"])
    else:  # The last ones are all of the parts before.
      batch = batch or next(split.eval_batches(batch_size))
      num_mine = 0
    padded = {n: _pad(x[:num_mine], size) for n, x in batch.items()}
    padded["mask"] = np.arange(size) < num_mine
    spread = {
      n: _spread_batch(x, num_devices // count) for n, x in padded.items()
    }
    yield spread, of_all, ()
  assert next(batches, None) is None, f"more than {split.num_examples} examples"


def _spread_batch(x: np.ndarray, num_devices: int) -> np.ndarray:
  """[B, ...] -> [D, B / D, ...]."""
  return _spread(x[None], num_devices)[:, 0]


def _pad(x: np.ndarray, size: int) -> np.ndarray:
  return np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
