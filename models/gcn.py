"""Graph convolutional network that classifies graphs.

Shin et al. (UAI 2025), molecules, widths 128, 256, 512, as the example of Flax
on which the paper builds: of every step an MLP on each node, the convolution of
Kipf and Welling (2017), a skip connection and LayerNorm; then the mean over the
nodes of a graph. Features of edges are not used. There, a node is its own
neighbour twice, once from the data and once from the model; here once.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


class GCN(nn.Module):
  """Classifier; graphs to logits [B, num_outputs].

  A batch is taken as one graph that is not connected. Padding changes nothing,
  nor does the order of the nodes.

  Attributes:
    num_outputs: number of binary tasks.
    hidden_size: width of a node.
    message_passing_steps: number of convolutions.
    num_mlp_layers: layers of the MLP in front of each.
    dropout: rate, after every layer of an MLP.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  hidden_size: int
  message_passing_steps: int = 5
  num_mlp_layers: int = 2
  dropout: float = 0.0
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, graphs: Mapping[str, jax.Array], train: bool = True
  ) -> jax.Array:
    """Returns the logits.

    Args:
      graphs: 'nodes' [B, N, F]; 'edges' [B, E, 2], the nodes of a graph that
        each joins, in either direction; 'num_nodes' and 'num_edges' [B]. What
        comes after so many is padding.
      train: whether there is dropout.
    """
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    nodes_BxNxF, sizes_B = graphs["nodes"], graphs["num_nodes"]
    num_graphs, max_nodes, num_features = nodes_BxNxF.shape
    convolve = _convolution(
      graphs["edges"], graphs["num_edges"], max_nodes, self.dtype
    )
    # From here on, nodes of all graphs are one axis.
    x = nn.Dense(self.hidden_size, **dtypes)(
      nodes_BxNxF.reshape(-1, num_features)
    )
    for _ in range(self.message_passing_steps):
      y = x
      for _ in range(self.num_mlp_layers):
        y = nn.relu(nn.Dense(self.hidden_size, **dtypes)(y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
      x = nn.LayerNorm(**dtypes)(x + convolve(y))
    x = x.reshape(num_graphs, max_nodes, -1)
    is_node_BxN = jnp.arange(max_nodes)[None] < sizes_B[:, None]
    total = jnp.sum(jnp.where(is_node_BxN[..., None], x, 0), 1)
    mean = total / jnp.maximum(sizes_B, 1).astype(x.dtype)[:, None]
    return nn.Dense(self.num_outputs, **dtypes)(mean)


def _convolution(
  edges_BxEx2: jax.Array, num_edges_B: jax.Array, max_nodes: int, dtype: Any
):
  """Returns x -> D^-1/2 (A + I) D^-1/2 x, for x [B * max_nodes, width].

  A is the adjacency matrix of all graphs together, D the degrees with the I.
  """
  num_graphs, max_edges, _ = edges_BxEx2.shape
  num_nodes = num_graphs * max_nodes
  first_node = jnp.arange(num_graphs) * max_nodes
  ends = (edges_BxEx2 + first_node[:, None, None]).reshape(-1, 2)
  is_edge = jnp.arange(max_edges)[None] < num_edges_B[:, None]
  is_edge = jnp.tile(is_edge.reshape(-1), 2).astype(dtype)
  senders, receivers = (
    jnp.concatenate([ends[:, i], ends[:, 1 - i]]) for i in (0, 1)
  )
  degrees = 1 + jax.ops.segment_sum(is_edge, receivers, num_nodes)
  scale = jax.lax.rsqrt(degrees)
  weights = is_edge * scale[senders] * scale[receivers]

  def convolve(x):
    messages = weights[:, None] * x[senders]
    neighbours = jax.ops.segment_sum(messages, receivers, num_nodes)
    return neighbours + x / degrees[:, None]

  return convolve
