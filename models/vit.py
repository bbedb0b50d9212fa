"""Vision transformer: Dosovitskiy et al. (2021), of Shin et al.'s sizes.

Shin et al. (UAI 2025), Figure 5e: six layers, MLPs twice as wide as the tokens,
heads of 32 numbers; widths 32 to 1,024 on CIFAR-10, from scratch. Here as in
Dosovitskiy et al. beside that: LayerNorm before each part, GELU, learned
positions, the class token read at the end; no dropout.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

# Width of the MLP's hidden layer, in widths of a token.
MLP_RATIO = 2


def patches(images_BxHxWxC: Any, size: int) -> Any:
  """Returns the squares of `size` pixels, each flattened, [B, H', W', N].

  As a reshape instead of a convolution, since XLA's CPU convolutions are slow
  inside loops.

  Args:
    images_BxHxWxC: of JAX or NumPy; sides are multiples of `size`.
    size: of a square.
  """
  batch, height, width, channels = images_BxHxWxC.shape
  rows, columns = height // size, width // size
  x = images_BxHxWxC.reshape(batch, rows, size, columns, size, channels)
  return x.swapaxes(2, 3).reshape(batch, rows, columns, size * size * channels)


class ViT(nn.Module):
  """Vision transformer; images whose sides are multiples of the patch size.

  Attributes:
    num_outputs: width of the output.
    hidden_size: width of a token.
    head_size: width of an attention head; there is at least one.
    num_layers: number of blocks.
    patch_size: side of a patch, in pixels.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  hidden_size: int
  head_size: int = 32
  num_layers: int = 6
  patch_size: int = 4
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, images_BxHxWxC: jax.Array, train: bool = True
  ) -> jax.Array:
    del train  # Trains and evaluates alike.
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = patches(images_BxHxWxC, self.patch_size)
    x = x.reshape(len(x), -1, x.shape[-1])
    x = nn.Dense(self.hidden_size, name="embedding", **dtypes)(x)
    batch, num_patches, width = x.shape
    token = self.param(
      "class_token", nn.initializers.zeros, (1, 1, width), self.param_dtype
    )
    positions = self.param(
      "positions",
      nn.initializers.normal(0.02),
      (1, num_patches + 1, width),
      self.param_dtype,
    )
    x, token, positions = nn.dtypes.promote_dtype(
      x, token, positions, dtype=self.dtype
    )
    token = jnp.broadcast_to(token, (batch, 1, width))
    x = jnp.concatenate([token, x], 1) + positions
    for _ in range(self.num_layers):
      y = nn.LayerNorm(**dtypes)(x)
      heads = max(1, width // self.head_size)
      x += nn.MultiHeadDotProductAttention(heads, **dtypes)(y)
      y = nn.LayerNorm(**dtypes)(x)
      y = nn.gelu(nn.Dense(MLP_RATIO * width, **dtypes)(y))
      x += nn.Dense(width, **dtypes)(y)
    x = nn.LayerNorm(**dtypes)(x)
    return nn.Dense(self.num_outputs, **dtypes)(x[:, 0])
