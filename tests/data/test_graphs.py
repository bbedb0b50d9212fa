"""Graphs as rows, their budgets, and the generated molecules."""

import itertools

import jax
import numpy as np
import pytest

from configs import errors
import data
from data import dataset as dataset_lib
from data import graphs as graphs_lib
from data import motifs
from tests import helpers

TRIANGLE = graphs_lib.Graph(
  np.array([[1, 2], [3, 4], [5, 6]]),
  np.array([[0, 1], [1, 2], [2, 0]]),
  np.array([1, -1]),
)
PAIR = graphs_lib.Graph(
  np.array([[7, 8], [9, 10]]), np.array([[1, 0]]), np.array([0, 1])
)
ATOM = graphs_lib.Graph(
  np.array([[11, 12]]), np.zeros((0, 2), int), np.array([0, 0])
)
GRAPHS = {"train": [PAIR, TRIANGLE], "test": [ATOM, PAIR]}


def _config(**fields):
  return helpers.config(
    dataset="motifs", model="gcn", loss="binary_cross_entropy", **fields
  )


def test_rows_by_hand():
  loaded = graphs_lib.create(_config(), GRAPHS)
  train, test = loaded.splits["train"], loaded.splits["test"]
  # Room for three nodes and three edges.
  assert train.inputs.tolist() == [
    [2, 1, 7, 8, 9, 10, 0, 0, 1, 0, 0, 0, 0, 0],
    [3, 3, 1, 2, 3, 4, 5, 6, 0, 1, 1, 2, 2, 0],
  ]
  assert test.targets.tolist() == [[0, 0], [0, 1]]
  assert (loaded.num_outputs, loaded.num_classes) == (2, 2)
  assert loaded.labels_per_example == 1.5
  got = loaded.normalize(train.inputs)
  assert got["nodes"].tolist() == [
    [[7, 8], [9, 10], [0, 0]],
    TRIANGLE[0].tolist(),
  ]
  assert got["edges"][1].tolist() == TRIANGLE.edges.tolist()
  assert got["num_nodes"].tolist() == [2, 3]
  assert got["num_edges"].tolist() == [1, 3]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"max_nodes": 2}, "config.max_nodes=2: must be 0, or >= the 3 nodes of"),
    ({"max_edges": 2}, "config.max_edges=2: must be 0, or >= the 3 edges of"),
  ],
)
def test_a_graph_over_the_budget_is_an_error(fields, message):
  with pytest.raises(errors.ConfigError) as e:
    graphs_lib.create(_config(**fields), GRAPHS)
  assert str(e.value).startswith(message)
  assert "graph 1 of the train split of motifs" in str(e.value)


def test_a_split_without_both_classes_is_an_error():
  with pytest.raises(dataset_lib.DataError) as e:
    graphs_lib.create(_config(), GRAPHS | {"test": [ATOM, ATOM]})
  assert "both classes in the test split" in str(e.value)


def test_budgets_are_those_of_the_config():
  loaded = graphs_lib.create(_config(max_nodes=5, max_edges=3), GRAPHS)
  assert loaded.input_shape == (2 + 5 * 2 + 3 * 2,)


def _paths(motif, atoms, edges):
  """Counts tuples of atoms, each path in one of its directions."""
  bonds = {(i, j) for a, b in edges.tolist() for i, j in ((a, b), (b, a))}
  names = [list(motifs.ATOMS)[k] for k in atoms]
  found = {
    min(path, path[::-1])
    for path in itertools.permutations(range(len(atoms)), len(motif))
    if all(pair in bonds for pair in itertools.pairwise(path))
    and motif in ("".join(names[i] for i in p) for p in (path, path[::-1]))
  }
  return len(found)


def test_motifs_are_counted():
  rng = np.random.default_rng(0)
  total = 0
  for _ in range(15):
    atoms, edges = motifs.draw(rng, 9)
    neighbours = motifs.count_neighbours(atoms, edges)
    for motif in motifs.MOTIFS:
      want = _paths(motif, atoms, edges)
      assert motifs.count(motif, atoms, neighbours) == want
      total += want
  assert total > 50


@pytest.fixture(scope="module")
def loaded_runs():
  """Returns a clean run, one with noise, and one of another data_seed."""
  return data.load_runs(
    [_config(), _config(label_noise=0.25), _config(data_seed=1)]
  )


def test_molecules_are_connected_and_their_labels_right(loaded_runs):
  loaded = loaded_runs[0]
  assert loaded.best_accuracy == 1
  split = loaded.splits["train"]
  graphs = jax.device_get(loaded.normalize(split.inputs[:60]))
  for i, labels in enumerate(split.targets[:60]):
    n, e = graphs["num_nodes"][i], graphs["num_edges"][i]
    atoms, edges = graphs["nodes"][i, :n].argmax(1), graphs["edges"][i, :e]
    adjacency = np.eye(n)
    adjacency[edges[:, 0], edges[:, 1]] = adjacency[
      edges[:, 1], edges[:, 0]
    ] = 1
    assert len({tuple(sorted(edge)) for edge in edges.tolist()}) == e
    assert adjacency.sum(1).max() <= 1 + motifs.MAX_BONDS
    assert (np.linalg.matrix_power(adjacency, n) > 0).all()
    want = [_paths(motif, atoms, edges) > 0 for motif in motifs.MOTIFS]
    has_label = labels != dataset_lib.NO_LABEL
    np.testing.assert_array_equal(labels[has_label], np.array(want)[has_label])
  for split in loaded.splits.values():
    missing = (split.targets == dataset_lib.NO_LABEL).mean()
    assert missing == pytest.approx(motifs.MISSING)
    # No task is decided by guessing one class.
    for labels in split.targets.T:
      share = labels[labels != dataset_lib.NO_LABEL].mean()
      assert 0.2 < share < 0.65


def test_all_seeds_have_one_shape(loaded_runs):
  a, _, b = loaded_runs
  assert (a.splits["test"].inputs != b.splits["test"].inputs).any()
  for field in ("input_shape", "num_outputs", "labels_per_example"):
    assert getattr(a, field) == getattr(b, field)


def test_noise_flips_labels_and_leaves_missing_ones(loaded_runs):
  clean, noisy = (x.splits["train"].targets for x in loaded_runs[:2])
  is_label = clean != dataset_lib.NO_LABEL
  np.testing.assert_array_equal(is_label, noisy != dataset_lib.NO_LABEL)
  assert (clean != noisy).sum() == round(0.25 * is_label.sum())
  assert set(noisy[is_label].tolist()) == {0, 1}
