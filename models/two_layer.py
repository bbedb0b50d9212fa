"""One hidden layer, without an output bias: W2 act(W1 x + b1).

Shin et al. (UAI 2025) train it on a line of points (Section 4.1), in matrix
factorization (linear, without b1; Section 6) and in the kernel regime with a
fixed W2 (Appendix I). Wen, Li and Ma (2023) train it with ReLU or softplus,
with or without b1, and with simplified normalizations of the hidden layer.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

# The collection of what is not trained.
FIXED = "fixed"
# Name of W1 and b1 among the parameters.
FIRST = "first"

# Smallest norm by which Sim-LN divides. The paper states no value.
SIM_LN_EPS = 1e-6

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


def _scaled(init: Initializer, factor: float) -> Initializer:
  """Returns an initializer of values `factor` times as large."""
  if factor == 1:
    return init
  return lambda key, shape, dtype: factor * init(key, shape, dtype)


def sim_layer_norm(hidden_BxM: jax.Array) -> jax.Array:
  """Returns h / max(||h||, eps) of every example (Wen et al., Sim-LN)."""
  square = jnp.sum(jnp.square(hidden_BxM), -1, keepdims=True)
  # The root of the maximum, since the norm has no derivative at 0.
  return hidden_BxM / jnp.sqrt(jnp.maximum(square, SIM_LN_EPS**2))


class _SimBatchNorm(nn.Module):
  """Divides each neuron by its root mean square over the training set.

  Wen et al., Sim-BN: no mean is subtracted and no bias is added. A neuron that
  no training example activates is 0.
  """

  param_dtype: Any

  @nn.compact
  def __call__(self, hidden_BxM: jax.Array, all_NxM: jax.Array) -> jax.Array:
    num_neurons = hidden_BxM.shape[-1]
    gamma = self.param(
      "scale", nn.initializers.ones, (num_neurons,), self.param_dtype
    )
    square = jnp.mean(jnp.square(all_NxM), 0)
    is_on = square > 0
    inverse = jnp.where(is_on, jax.lax.rsqrt(jnp.where(is_on, square, 1)), 0)
    return hidden_BxM * (gamma * inverse).astype(hidden_BxM.dtype)[None]


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
    first_layer_scale: factor on the initial W1 and b1.
    normalization: of the hidden layer, 'none', 'sim_bn' or 'sim_ln'. Sim-BN
      takes its statistics over the inputs that the model was initialized with,
      which it keeps in the collection 'fixed'; they follow the weights, so
      gradients go through them.
    trained_layers: 'all', or 'first', where W2 is in the collection 'fixed'.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_neurons: int
  activation: str = "relu"
  use_bias: bool = True
  initialization: str = "default"
  first_layer_scale: float = 1.0
  normalization: str = "none"
  trained_layers: str = "all"
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool = True) -> jax.Array:
    del train  # Trains and evaluates alike.
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    kernel, bias, readout = _initializers(self.initialization, self.num_neurons)
    first = nn.Dense(
      self.num_neurons,
      use_bias=self.use_bias,
      kernel_init=_scaled(kernel, self.first_layer_scale),
      bias_init=_scaled(bias, self.first_layer_scale),
      name=FIRST,
      **dtypes,
    )

    def hidden(inputs):
      x = first(inputs.reshape(len(inputs), -1))
      return _ACTIVATIONS[self.activation](x)

    x = hidden(inputs)
    if self.normalization == "sim_bn":
      seen = self.variable(FIXED, "training_inputs", lambda: inputs).value
      norm = _SimBatchNorm(self.param_dtype, name="normalization")
      x = norm(x, hidden(seen))
    elif self.normalization == "sim_ln":
      x = sim_layer_norm(x)
    return _Readout(
      self.num_outputs,
      is_trained=self.trained_layers == "all",
      kernel_init=readout,
      name="second",
      **dtypes,
    )(x)
