"""Fully connected ReLU networks (LeNet-300-100 is one)."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
  """ReLU network; inputs are flattened.

  Attributes:
    num_outputs: width of the output.
    num_neurons: width of each hidden layer.
    bias_layers: 'all', or 'first', where no other layer has a bias.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_neurons: tuple[int, ...]
  bias_layers: str = "all"
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool = True) -> jax.Array:
    del train  # Trains and evaluates alike.
    x = inputs.reshape(len(inputs), -1)
    for i, width in enumerate(self.num_neurons):
      x = nn.relu(self._dense(i, width)(x))
    return self._dense(len(self.num_neurons), self.num_outputs)(x)

  def _dense(self, index: int, width: int) -> nn.Dense:
    return nn.Dense(
      width,
      use_bias=self.bias_layers == "all" or index == 0,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
