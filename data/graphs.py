"""Graphs as arrays: each is a row of integers, padded to one size.

A row goes wherever an image goes: to the device, into batches by its index,
into sweeps and measurements. `Layout.unpack` makes of rows what a model takes.

Every row has the room of the largest graph, so that any batch of any graphs
fits and none is dropped. Of ogbg_molpcba, whose molecules have 26 nodes on
average and 332 at most, the 437,929 rows take about 3.2 GB on the device, and
a model would compute 13 times as many nodes as there are; `bucketing` tells how
batches do with less.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import errors
from data import bucketing
from data import dataset

NUM_SIZES = 2  # A row begins with the numbers of nodes and of edges.
ROW_DTYPE = np.int16


class Graph(NamedTuple):
  """A graph with a label for each of several binary tasks.

  Attributes:
    nodes: integer features of each node, [n, F].
    edges: the nodes that each edge joins, once each, [e, 2].
    labels: 0, 1 or `dataset.NO_LABEL`, [T].
  """

  nodes: np.ndarray
  edges: np.ndarray
  labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where in a row a graph is.

  Attributes:
    max_nodes: nodes that it has room for.
    max_edges: edges that it has room for.
    num_features: numbers at a node.
  """

  max_nodes: int
  max_edges: int
  num_features: int

  @property
  def size(self) -> int:
    """Length of a row."""
    return NUM_SIZES + self.max_nodes * self.num_features + 2 * self.max_edges

  def pack(self, graphs: Sequence[Graph]) -> np.ndarray:
    """Returns the rows of graphs that it has room for, [N, size]."""
    rows = np.zeros((len(graphs), self.size), ROW_DTYPE)
    first_edge = NUM_SIZES + self.max_nodes * self.num_features
    for row, (nodes, edges, _) in zip(rows, graphs, strict=True):
      row[:NUM_SIZES] = len(nodes), len(edges)
      row[NUM_SIZES : NUM_SIZES + nodes.size] = nodes.ravel()
      row[first_edge : first_edge + edges.size] = edges.ravel()
    return rows

  def unpack(self, rows_BxS: jax.Array) -> dict[str, jax.Array]:
    """Returns 'nodes', 'edges', 'num_nodes' and 'num_edges'; see models/gcn."""
    rows = rows_BxS.astype(jnp.int32)
    ends = np.cumsum([NUM_SIZES, self.max_nodes * self.num_features])
    sizes_Bx2, nodes, edges = jnp.split(rows, ends, axis=1)
    nodes_BxNxF = nodes.reshape(-1, self.max_nodes, self.num_features)
    return {
      "nodes": nodes_BxNxF.astype(jnp.result_type(float)),
      "edges": edges.reshape(-1, self.max_edges, 2),
      "num_nodes": sizes_Bx2[:, 0],
      "num_edges": sizes_Bx2[:, 1],
    }


def count_parts(rows_NxS: np.ndarray) -> np.ndarray:
  """Returns the numbers of nodes and edges of each graph, [N, 2]."""
  return rows_NxS[:, :NUM_SIZES].astype(int)


def trim(batch: dict[str, Any], size: bucketing.Size) -> dict[str, Any]:
  """Returns unpacked graphs with room for so many nodes and edges each."""
  max_nodes, max_edges = size
  parts = batch["inputs"]
  cut = {
    "nodes": parts["nodes"][:, :max_nodes],
    "edges": parts["edges"][:, :max_edges],
  }
  return {**batch, "inputs": {**parts, **cut}}


def create(
  config: ml_collections.ConfigDict,
  graphs: Mapping[str, Sequence[Graph]],
  *,
  max_nodes: int = 0,
  max_edges: int = 0,
  best_accuracy: float | None = None,
) -> dataset.Dataset:
  """Returns a data set of graphs.

  Args:
    config: reads dataset, max_nodes, max_edges, train_fraction,
      validation_fraction, data_seed and seed.
    graphs: 'train', 'test' and perhaps 'validation'; else part of 'train' can
      be held out. The mean number of labels is that of 'train' before.
    max_nodes: at least so many have room if the config does not say how many:
      of generated graphs as many as they can have.
    max_edges: likewise.
    best_accuracy: see `Dataset`.

  Raises:
    ConfigError: a graph is larger than the config says.
    DataError: there is no task whose precision can be evaluated.
  """
  layout = Layout(
    config.max_nodes or max(max_nodes, _largest(graphs, "nodes")),
    config.max_edges or max(max_edges, _largest(graphs, "edges")),
    graphs["train"][0].nodes.shape[1],
  )
  _check_budget(config, graphs, layout)
  labels = {
    name: np.stack([g.labels for g in some]).astype(np.int8)
    for name, some in graphs.items()
  }
  packed = {
    name: dataset.ArraySplit(layout.pack(some), labels[name])
    for name, some in graphs.items()
  }
  splits = {**dataset.hold_out(packed.pop("train"), config), **packed}
  for name, split in splits.items():
    if name != "train" and not _has_both_classes(split.targets):
      raise dataset.DataError(
        f"{config.dataset}: no task has labels of both classes in the {name}"
        " split, so there is no average precision"
      )
  has_label = labels["train"] != dataset.NO_LABEL
  return dataset.Dataset(
    name=config.dataset,
    splits=splits,
    input_shape=(layout.size,),
    num_outputs=has_label.shape[1],
    num_classes=2,
    labels_per_example=float(has_label.sum(1).mean()),
    best_accuracy=best_accuracy,
    normalize=layout.unpack,
    trimming=bucketing.Trimming(
      (layout.max_nodes, layout.max_edges), count_parts, trim
    ),
  )


def _has_both_classes(labels_NxT: np.ndarray) -> bool:
  return any({0, 1} <= set(labels.tolist()) for labels in labels_NxT.T)


def _largest(graphs: Mapping[str, Sequence[Graph]], part: str) -> int:
  """Returns the most nodes, or edges, that a graph has."""
  return max(len(getattr(g, part)) for some in graphs.values() for g in some)


def _check_budget(
  config: ml_collections.ConfigDict,
  graphs: Mapping[str, Sequence[Graph]],
  layout: Layout,
) -> None:
  """Raises `ConfigError` if a graph does not fit into its row."""
  for field in ("max_nodes", "max_edges"):
    part, room = field.removeprefix("max_"), getattr(layout, field)
    for name, some in graphs.items():
      sizes = [len(getattr(g, part)) for g in some]
      largest = int(np.argmax(sizes))
      if sizes[largest] > room:
        raise errors.ConfigError(
          f"config.{field}={room}: must be 0, or >= the {sizes[largest]} {part}"
          f" of graph {largest} of the {name} split of {config.dataset}"
        )
