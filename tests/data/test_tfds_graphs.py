"""Molecules read through TFDS, against small ones written to disk."""

import jax
import numpy as np
import pytest

from configs import errors
from data import tfds_graphs
from tests import helpers
from tests import tfds_fixtures

SIZES = {"train": 12, "validation": 5, "test": 5}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  tfds_fixtures.write_ogbg_molpcba(folder, num_train=12, num_test=5)
  return str(folder)


def _config(**fields):
  return helpers.config(
    dataset="ogbg_molpcba", model="gcn", loss="binary_cross_entropy", **fields
  )


def test_molecules_come_back_as_written(data_dir):
  loaded = tfds_graphs.load(_config(), data_dir)
  assert loaded.num_outputs == 128
  for seed, (name, size) in enumerate(SIZES.items()):
    split = loaded.splits[name]
    written = tfds_fixtures.molecules(size, seed)
    assert split.num_examples == size
    graphs = jax.device_get(loaded.normalize(split.inputs))
    # TFDS's files have them in another order; no two are equal.
    remaining = list(range(size))
    for i, labels in enumerate(split.targets):
      n, e = graphs["num_nodes"][i], graphs["num_edges"][i]
      nodes = graphs["nodes"][i, :n]
      (j,) = (
        k for k in remaining if np.array_equal(written[k]["node_feat"], nodes)
      )
      remaining.remove(j)
      want = written[j]
      np.testing.assert_array_equal(graphs["edges"][i, :e], want["edge_index"])
      np.testing.assert_array_equal(labels == -1, np.isnan(want["labels"]))
      np.testing.assert_array_equal(
        np.where(labels == -1, np.nan, labels), want["labels"]
      )
  train = loaded.splits["train"].targets
  assert loaded.labels_per_example == (train >= 0).sum() / 12


def test_a_molecule_over_the_budget_is_an_error(data_dir):
  with pytest.raises(errors.ConfigError, match="max_nodes=4: must be 0"):
    tfds_graphs.load(_config(max_nodes=4), data_dir)
