"""Graphs that are read through TFDS, whole and in the order of its files.

ogbg_molpcba has splits of its own to train, to choose and to test on. Missing
labels are NaN in its files, and a bond is in them once.
"""

import ml_collections
import numpy as np

from data import dataset
from data import graphs
from data import tfds_files

FEATURES = ("node_feat", "edge_index", "labels")
SPLITS = ("train", "validation", "test")


def load(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns the data set that the config names.

  Args:
    config: see `graphs.create`.
    data_dir: where TFDS keeps its data; None: its own default.

  Raises:
    DataError: the data is damaged, or is not there and cannot be downloaded.
    ConfigError: a graph is larger than the config says.
  """
  builder = tfds_files.open_builder(config.dataset, data_dir, SPLITS)
  return graphs.create(
    config,
    {
      split: [_graph(x) for x in tfds_files.read_all(builder, split, FEATURES)]
      for split in SPLITS
    },
  )


def _graph(example: dict[str, np.ndarray]) -> graphs.Graph:
  labels = example["labels"]
  return graphs.Graph(
    example["node_feat"].astype(graphs.ROW_DTYPE),
    example["edge_index"].astype(graphs.ROW_DTYPE),
    np.where(np.isnan(labels), dataset.NO_LABEL, labels).astype(np.int8),
  )
