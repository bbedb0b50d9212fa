"""Batches of like size: which examples, in which order, trimmed to what."""

import itertools

import numpy as np
import pytest

from data import bucketing
from data import dataset as dataset_lib
from data import graphs
from data import pipeline
from data import text
from training import run_axis

BATCH, WINDOW, STEPS = 4, 3, 8  # The last window has two batches.
# (nodes, edges) of 35 graphs, three of which are dropped in an epoch.
SIZES = np.random.default_rng(0).choice([8, 16, 24, 32], (35, 2))
BUCKETS = bucketing.Buckets(SIZES, WINDOW)
SPLIT = dataset_lib.ArraySplit(np.zeros((35, 1)), np.zeros(35))


def _feed(seed):
  return pipeline.ResidentFeed(
    SPLIT, seed=seed, batch_size=BATCH, num_devices=2, buckets=BUCKETS
  )


def test_sizes_by_hand():
  needed = [0, 1, 8, 9, 64, 65, 80, 81, 128, 129, 332]
  want = [8, 8, 8, 16, 64, 80, 80, 96, 128, 160, 384]
  assert bucketing.rounded_up(np.array(needed)).tolist() == want
  trimming = bucketing.Trimming((332, 9), np.asarray, None)
  sizes = trimming.sizes([[3, 9], [300, 8]])
  assert sizes.tolist() == [[8, 9], [320, 8]]


def test_batches_by_hand():
  sizes = np.array([8, 24, 8, 16, 16, 8, 8, 8])[:, None]
  drawn = np.array([[3, 0], [1, 2], [4, 7]])
  got = bucketing.Buckets(sizes, 3).regroup(drawn, epoch=0)
  # Sorted: 0 2 7 (8), 3 4 (16), 1 (24); then each batch as it was drawn.
  assert sorted(got.tolist()) == [[0, 2], [1, 4], [3, 7]]
  np.testing.assert_array_equal(
    bucketing.Buckets(sizes, 1).regroup(drawn, epoch=0), drawn
  )


@pytest.mark.parametrize("epoch", [0, 1])
def test_each_window_is_regrouped(epoch):
  plain = pipeline.EpochOrders(7, 35)(epoch)[: STEPS * BATCH]
  got = _feed(7).rest_of_epoch(epoch * STEPS)
  assert got.shape == (STEPS, BATCH)
  place = {example: i for i, example in enumerate(plain)}
  ranks = []
  for first in range(0, STEPS, WINDOW):
    batches = got[first : first + WINDOW]
    drawn = plain[first * BATCH : (first + WINDOW) * BATCH]
    assert sorted(batches.ravel()) == sorted(drawn)
    for batch in batches:
      assert [place[i] for i in batch] == sorted(place[i] for i in batch)
    # No two batches interleave: nodes count first, then edges.
    keys = [sorted(map(tuple, SIZES[batch])) for batch in batches]
    in_order = sorted(range(len(keys)), key=lambda i: keys[i])
    for a, b in itertools.pairwise(in_order):
      assert keys[a][-1] <= keys[b][0]
    ranks.append(in_order)
  # That of the first epoch is in order nowhere, or it would not be shuffled.
  assert ranks != [sorted(rank) for rank in ranks]


def test_the_shuffle_is_that_of_the_epoch():
  """Where all sizes differ, the ranks of the batches tell it."""
  sizes = np.arange(32)[:, None]
  buckets = bucketing.Buckets(sizes, 8)

  def ranks(seed, epoch):
    drawn = pipeline.EpochOrders(seed, 32)(epoch).reshape(8, 4)
    return tuple(buckets.regroup(drawn, epoch).min(1) // 4)

  assert ranks(0, 3) == ranks(1, 3) != ranks(0, 4)


def test_stretches_fit_the_batches_of_all_runs():
  feeds = [_feed(0), _feed(1)]
  together = run_axis.StackedFeed([feeds[0], feeds[1], feeds[0]])
  at, sizes = 5, []
  for first, count, size in pipeline.stretches(together, 5, 9):
    assert first == at
    at += count
    sizes.append(size)
    for step in range(first, at):
      batches = [feed.rest_of_epoch(step)[0] for feed in feeds]
      assert size == tuple(SIZES[np.concatenate(batches)].max(0))
  assert at == 14
  assert all(a != b for a, b in itertools.pairwise(sizes))
  plain = pipeline.ResidentFeed(SPLIT, seed=0, batch_size=BATCH, num_devices=1)
  assert list(pipeline.stretches(plain, 5, 9)) == [(5, 9, ())]


def test_trimmed_sentences_by_hand():
  tokens = np.array([[5, 6, 7, 0], [5, 0, 0, 0]])
  assert text.count_words(tokens).tolist() == [[3], [1]]
  tags = np.where(tokens > 0, 1, -1)
  got = text.trim({"inputs": tokens, "targets": tags, "rng": "keys"}, (3,))
  assert got["inputs"].tolist() == [[5, 6, 7], [5, 0, 0]]
  assert got["targets"].tolist() == [[1, 1, 1], [1, -1, -1]]
  assert got["rng"] == "keys"
  classes = text.trim({"inputs": tokens, "targets": np.array([1, 0])}, (3,))
  assert classes["targets"].tolist() == [1, 0]


def test_trimmed_graphs_are_those_of_a_smaller_layout():
  rng = np.random.default_rng(0)
  some = [
    graphs.Graph(rng.integers(0, 9, (n, 2)), rng.integers(0, n, (e, 2)), None)
    for n, e in ((3, 4), (5, 2), (1, 0))
  ]
  large, small = graphs.Layout(9, 7, 2), graphs.Layout(5, 4, 2)
  rows = large.pack(some)
  assert graphs.count_parts(rows).tolist() == [[3, 4], [5, 2], [1, 0]]
  batch = {"inputs": large.unpack(rows), "targets": np.zeros(3)}
  got = graphs.trim(batch, (5, 4))["inputs"]
  want = small.unpack(small.pack(some))
  assert got.keys() == want.keys()
  for name, array in want.items():
    np.testing.assert_array_equal(got[name], array)
