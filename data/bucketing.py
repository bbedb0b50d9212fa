"""Batches of examples of like size, less the padding that none of them needs.

Examples of several sizes, sentences and graphs, are padded to the largest of
their data set, but few batches need all of it. With `config.bucket_batches`
every batch is trimmed to its own largest example, and the epoch is regrouped so
that large examples meet. A model masks padding, so trimming a batch changes
neither its loss nor its gradient; it does change the draws of dropout, which
depend on the shape, and so on the runs of a sweep that share a call.

A size is what an example has room for: (words,), or (nodes, edges); () stands
for examples that are not trimmed.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np

Size = tuple[int, ...]
# Trimmed sizes are a multiple of it.
STEP = 8


@dataclasses.dataclass(frozen=True)
class Trimming:
  """How the padding of a data set is cut off.

  Attributes:
    full: what every example is padded to.
    measure: raw inputs [N, ...] -> what each needs, int [N, K].
    trim: (batch, size) -> the batch without the room beyond a size; its
      'inputs' are those of the model.
  """

  full: Size
  measure: Callable[[np.ndarray], np.ndarray]
  trim: Callable[[dict[str, Any], Size], dict[str, Any]]

  def sizes(self, inputs: np.ndarray) -> np.ndarray:
    """Returns the trimmed size of each example alone, int [N, K]."""
    return np.minimum(rounded_up(self.measure(inputs)), self.full)


def rounded_up(sizes: np.ndarray) -> np.ndarray:
  """Returns the next sizes that there are programs for.

  They are multiples of 8 up to 64, then four in every octave: 80, 96, 112, 128,
  160. So they are few, and more than 32 becomes at most a quarter more.
  """
  octaves = 2 ** np.ceil(np.log2(np.maximum(sizes, 1))).astype(int)
  steps = np.maximum(STEP, octaves // 8)
  return -(-np.maximum(sizes, 1) // steps) * steps


def by_size(sizes_NxK: np.ndarray) -> np.ndarray:
  """Returns the order from small to large; equal ones stay as they are, [N]."""
  if not sizes_NxK.shape[1]:
    return np.arange(len(sizes_NxK))
  return np.lexsort(sizes_NxK.T[::-1])


@dataclasses.dataclass(frozen=True)
class Buckets:
  """Regroups the batches of an epoch, so that they are of like size.

  Attributes:
    sizes_NxK: the trimmed size of each example alone.
    window: batches whose examples are regrouped, `config.bucket_batches`.
  """

  sizes_NxK: np.ndarray
  window: int

  def regroup(self, batches_SxB: np.ndarray, epoch: int) -> np.ndarray:
    """Returns batches of the same examples of every window, [S, B].

    In each window they are sorted by size and cut into batches, and these are
    shuffled. The shuffle depends on the epoch alone, so the runs of a sweep
    have batches of like size at the same step. In a batch, examples are in the
    order in which they were drawn, so its microbatches, and its parts on
    several devices, are alike.
    """
    rng = np.random.default_rng([0xB0C7, epoch])
    regrouped = []
    for first in range(0, len(batches_SxB), self.window):
      drawn_WxB = batches_SxB[first : first + self.window]
      drawn = drawn_WxB.ravel()
      places_WxB = by_size(self.sizes_NxK[drawn]).reshape(drawn_WxB.shape)
      regrouped.append(drawn[rng.permutation(np.sort(places_WxB, axis=1))])
    return np.concatenate(regrouped)

  def size_of(self, batch_B: np.ndarray) -> np.ndarray:
    """Returns what a batch is trimmed to, [K]."""
    return self.sizes_NxK[batch_B].max(0)
