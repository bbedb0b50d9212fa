"""Fully connected ReLU networks (LeNet-300-100 is one)."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
  """ReLU network with biases; inputs are flattened.

  Attributes:
    num_outputs: width of the output.
    num_neurons: width of each hidden layer.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_neurons: tuple[int, ...]
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool = True) -> jax.Array:
    del train  # Trains and evaluates alike.
    x = inputs.reshape(len(inputs), -1)
    for width in self.num_neurons:
      x = nn.relu(self._dense(width)(x))
    return self._dense(self.num_outputs)(x)

  def _dense(self, width: int) -> nn.Dense:
    return nn.Dense(width, dtype=self.dtype, param_dtype=self.param_dtype)
