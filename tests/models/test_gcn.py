"""Graph network: sizes, and against dense linear algebra, graph by graph."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import graphs as graphs_lib
import models
from tests import helpers

# Parameter counts of Shin et al. (UAI 2025), Figures 1 and 7.
MOLPCBA = {128: 184_192, 256: 695_936, 512: 2_702_464}
NUM_FEATURES, NUM_TASKS = 3, 4
# (nodes, edges); the second has no edges, the last is the largest.
SIZES = ((4, 3), (1, 0), (5, 6), (7, 8))


class Task:
  def __init__(self, num_outputs):
    self.num_outputs = num_outputs
    self.vocabulary_size = None
    self.padding = None


def _model(num_outputs=NUM_TASKS, **fields):
  c = helpers.config(
    dataset="motifs", model="gcn", loss="binary_cross_entropy", **fields
  )
  return models.create(c, Task(num_outputs))


@pytest.mark.parametrize(("hidden_size", "want"), MOLPCBA.items())
def test_parameters(hidden_size, want):
  graphs = graphs_lib.Layout(5, 6, 9).unpack(jnp.zeros((2, 2 + 45 + 12)))
  model = _model(128, hidden_size=hidden_size)
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(0), graphs, train=False)
  )
  assert sum(x.size for x in jax.tree.leaves(variables)) == want


@pytest.fixture(scope="module")
def graphs():
  rng = np.random.default_rng(0)

  def one(num_nodes, num_edges):
    pairs = np.stack(np.triu_indices(num_nodes, 1), 1)
    edges = rng.permutation(pairs)[:num_edges]
    # Either end of an edge comes first.
    edges[::2] = edges[::2, ::-1]
    nodes = rng.integers(0, 5, (num_nodes, NUM_FEATURES))
    return graphs_lib.Graph(nodes, edges, rng.integers(0, 2, NUM_TASKS))

  return [one(*size) for size in SIZES]


@pytest.fixture(scope="module")
def setup(graphs):
  """Returns the model, its weights in float64, and outputs and gradient."""
  with jax.enable_x64(True):
    model = _model(hidden_size=8, message_passing_steps=2, dtype="float64")
    inputs = _batch(graphs)
    init = jax.jit(functools.partial(model.init, train=False))
    rng = np.random.default_rng(2)
    params = jax.tree.map(
      lambda x: x + 0.3 * rng.normal(size=x.shape),
      jax.device_get(init(jax.random.key(1), inputs)["params"]),
    )

    def outputs(params, inputs):
      return model.apply({"params": params}, inputs, train=False)

    run = jax.jit(
      lambda params, inputs: (
        outputs(params, inputs),
        jax.grad(lambda p: jnp.sum(jnp.sin(outputs(p, inputs))))(params),
      )
    )
    return params, run


def _batch(graphs, max_nodes=7, max_edges=8):
  layout = graphs_lib.Layout(max_nodes, max_edges, NUM_FEATURES)
  return layout.unpack(jnp.asarray(layout.pack(graphs)))


def _dense(params, graph):
  """The network on one graph, with its adjacency matrix."""
  n = len(graph.nodes)
  a = np.eye(n)
  for i, j in graph.edges:
    a[i, j] = a[j, i] = 1
  scale = a.sum(1) ** -0.5
  a = scale[:, None] * a * scale

  def dense(i, x):
    p = params[f"Dense_{i}"]
    return x @ p["kernel"] + p["bias"]

  x = dense(0, graph.nodes.astype(float))
  for step in range(2):
    y = np.maximum(dense(1 + 2 * step, x), 0)
    x = x + a @ np.maximum(dense(2 + 2 * step, y), 0)
    p = params[f"LayerNorm_{step}"]
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)
    x = x * p["scale"] + p["bias"]
  return dense(5, x.mean(0))


def test_batch_equals_dense_algebra_on_each_graph(graphs, setup):
  with jax.enable_x64(True):
    params, run = setup
    got, _ = run(params, _batch(graphs))
    want = np.stack([_dense(params, g) for g in graphs])
    np.testing.assert_allclose(got, want, rtol=1e-10)
    assert np.ptp(want, 0).min() > 0.01


def test_batch_equals_graphs_alone_with_more_padding(graphs, setup):
  with jax.enable_x64(True):
    params, run = setup
    outputs, gradient = run(params, _batch(graphs))
    alone = [
      run(params, _batch([g], max_nodes=9, max_edges=11)) for g in graphs
    ]
    np.testing.assert_allclose(
      outputs, np.concatenate([y for y, _ in alone]), rtol=1e-10
    )
    total = jax.tree.map(lambda *x: sum(x), *(g for _, g in alone))
    assert helpers.max_difference(gradient, total) < 1e-10


def test_what_is_in_the_padding_changes_nothing(graphs, setup):
  with jax.enable_x64(True):
    params, run = setup
    batch = _batch(graphs)
    want = run(params, batch)
    is_node = np.arange(7)[None] < batch["num_nodes"][:, None]
    is_edge = np.arange(8)[None] < batch["num_edges"][:, None]
    batch["nodes"] = jnp.where(is_node[..., None], batch["nodes"], 7.0)
    batch["edges"] = jnp.where(is_edge[..., None], batch["edges"], 6)
    assert helpers.max_difference(run(params, batch), want) < 1e-10


def test_order_of_nodes_changes_nothing(graphs, setup):
  with jax.enable_x64(True):
    params, run = setup
    want = run(params, _batch(graphs))
    rng = np.random.default_rng(3)

    def permuted(graph):
      order = rng.permutation(len(graph.nodes))
      places = np.argsort(order)
      return graph._replace(
        nodes=graph.nodes[order], edges=places[graph.edges].reshape(-1, 2)
      )

    moved = _batch([permuted(g) for g in graphs])
    assert (moved["nodes"] != _batch(graphs)["nodes"]).any()
    assert helpers.max_difference(run(params, moved), want) < 1e-10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes(dtype, graphs):
  """bfloat16 computes in bfloat16, with float32 parameters."""
  model, inputs = _model(hidden_size=8, dtype=dtype), _batch(graphs)
  outputs, variables = jax.eval_shape(
    lambda: model.init_with_output(jax.random.key(0), inputs, train=False)
  )
  assert outputs.dtype == dtype
  assert {str(x.dtype) for x in jax.tree.leaves(variables)} == {"float32"}
