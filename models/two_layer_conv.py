"""Two-layer convolutional ReLU network whose second layer is fixed.

Chen et al. (2023, arXiv 2310.07269): f = F_1 - F_0, where F_j sums
relu(<w_jr, x_p>) over the m filters r of class j and the patches x_p of the
input, times a factor. There is no bias.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
  """U(-1, 1) / sqrt(d), PyTorch's default; d is the last axis."""
  bound = shape[-1] ** -0.5
  return jax.random.uniform(key, shape, dtype, -bound, bound)


class TwoLayerConv(nn.Module):
  """F_1 - F_0; see the module. Inputs are patches, [B, P, d].

  Attributes:
    num_filters: filters of each class, m.
    averaged_over: what the factor averages over: 'filters' (1 / m, that of the
      paper) or 'patches' (1 / P, that of the code it builds on).
    initialization: 'uniform' (U(-1, 1) / sqrt(d)) or 'normal'.
    init_scale: standard deviation of 'normal'.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_filters: int
  averaged_over: str = "filters"
  initialization: str = "uniform"
  init_scale: float = 0.01
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, inputs: jax.Array, train: bool = True) -> jax.Array:
    """Returns f, [B, 1]."""
    del train  # Trains and evaluates alike.
    num_patches, dim = inputs.shape[-2:]
    init: Initializer = uniform
    if self.initialization == "normal":
      init = nn.initializers.normal(self.init_scale)
    # [class, filter, d]
    shape = 2, self.num_filters, dim
    filters = self.param("filters", init, shape, self.param_dtype)
    inputs, filters = nn.dtypes.promote_dtype(inputs, filters, dtype=self.dtype)
    products = jnp.einsum("bpd,jrd->bpjr", inputs, filters)
    outputs_Bx2 = jnp.sum(nn.relu(products), (1, 3))
    count = {"filters": self.num_filters, "patches": num_patches}
    outputs_Bx2 = outputs_Bx2 / count[self.averaged_over]
    return outputs_Bx2[:, 1:] - outputs_Bx2[:, :1]
