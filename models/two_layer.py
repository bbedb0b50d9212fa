"""One hidden layer, without an output bias: W2 act(W1 x + b1).

Shin et al. (UAI 2025) train it on a line of points (Section 4.1), in matrix
factorization (linear, without b1; Section 6) and in the kernel regime with a
fixed W2 (Appendix I).
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

# The collection of what is not trained.
FIXED = "fixed"

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": nn.relu,
  "linear": lambda x: x,
  "softplus": nn.softplus,
}


def _signs(size: float) -> Initializer:
  """Returns an initializer of values `size` with random signs."""

  def init(key, shape, dtype):
    return size * jax.random.rademacher(key, shape, dtype)

  return init


def _initializers(
  name: str, num_neurons: int
) -> tuple[Initializer, Initializer, Initializer]:
  """Returns those of W1, b1 and W2."""
  normal = nn.initializers.normal
  if name == "default":
    flax = nn.initializers.lecun_normal()
    return flax, nn.initializers.zeros_init(), flax
  if name == "one_dimensional":
    return _signs(2.5), normal(2.5), normal(4.0)
  if name == "lazy":
    first = normal(num_neurons**-0.5)
    return first, first, normal(1.0)
  raise ValueError(f"unknown initialization {name!r}")


class _Readout(nn.Module):
  """A linear layer without bias, whose kernel may be a constant."""

  num_outputs: int
  is_trained: bool
  kernel_init: Initializer
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = x.shape[-1], self.num_outputs
    if self.is_trained:
      kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
    else:
      # The same key, so the same values, as of a parameter.
      kernel = self.variable(
        FIXED,
        "kernel",
        lambda: self.kernel_init(
          self.make_rng("params"), shape, self.param_dtype
        ),
      ).value
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    return x @ kernel


class TwoLayer(nn.Module):
  """W2 act(W1 x + b1); inputs are flattened.

  Attributes:
    num_outputs: width of the output.
    num_neurons: width of the hidden layer.
    activation: 'relu', 'linear' or 'softplus'.
    use_bias: whether there is b1.
    initialization: 'default' (Flax's: W1 and W2 have variance 1 / inputs of
      the layer, b1 is 0), 'one_dimensional' (W1 is +-2.5, b1 2.5 N(0, 1), W2
      4 N(0, 1)) or 'lazy' (W1 and b1 have variance 1 / num_neurons, W2 has 1).
    trained_layers: 'all', or 'first', where W2 is in the collection 'fixed'.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_neurons: int
  activation: str = "relu"
  use_bias: bool = True
  initialization: str = "default"
  trained_layers: str = "all"
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool = True) -> jax.Array:
    del train  # Trains and evaluates alike.
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    kernel, bias, readout = _initializers(self.initialization, self.num_neurons)
    x = nn.Dense(
      self.num_neurons,
      use_bias=self.use_bias,
      kernel_init=kernel,
      bias_init=bias,
      name="first",
      **dtypes,
    )(inputs.reshape(len(inputs), -1))
    return _Readout(
      self.num_outputs,
      is_trained=self.trained_layers == "all",
      kernel_init=readout,
      name="second",
      **dtypes,
    )(_ACTIVATIONS[self.activation](x))
