"""Convolutional actor and critic for Atari games, with a shared trunk.

Shin et al. (UAI 2025), Breakout, 16, 32, 48 and 64 filters: the network of Mnih
et al. (2015), whose widths are (f, 2f, 2f) and 16f here. Its printed numbers of
parameters need convolutions without padding.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import vit

# Pixels along a side of what the first layer takes as one.
BLOCK = 4


class BlockConv(nn.Module):
  """A convolution with 2x2 blocks, from the top left corner of each block.

  In blocks of s x s pixels it is one of 2s x 2s pixels with stride s, whose
  gradients XLA computes slowly on a CPU.

  Attributes:
    features: output channels.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  features: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, blocks_BxHxWxC: jax.Array) -> jax.Array:
    """Returns [B, H - 1, W - 1, features]."""
    channels = blocks_BxHxWxC.shape[-1]
    kernel = self.param(
      "kernel",
      nn.initializers.lecun_normal(),
      (2, 2, channels, self.features),
      self.param_dtype,
    )
    bias = self.param(
      "bias", nn.initializers.zeros, (self.features,), self.param_dtype
    )
    x, kernel, bias = nn.dtypes.promote_dtype(
      blocks_BxHxWxC, kernel, bias, dtype=self.dtype
    )
    flat = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    corners = (x.reshape(-1, channels) @ flat).reshape(
      *x.shape[:3], 2, 2, self.features
    )
    return bias[None, None, None] + sum(
      corners[:, i : x.shape[1] - 1 + i, j : x.shape[2] - 1 + j, i, j]
      for i in range(2)
      for j in range(2)
    )


class ActorCritic(nn.Module):
  """Frames to the logits of the actions and, last, the value.

  Attributes:
    num_outputs: number of actions + 1.
    num_filters: f.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_filters: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, blocks_Bx21x21x64: jax.Array, train: bool = True
  ) -> jax.Array:
    """Returns the outputs [B, num_outputs]; takes `vit.patches` of frames."""
    del train  # Trains and evaluates alike.
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    f = self.num_filters
    # As 8x8 pixels with stride 4, then 4x4 with stride 2.
    x = nn.relu(BlockConv(f, name="conv_1", **dtypes)(blocks_Bx21x21x64))
    x = nn.relu(BlockConv(2 * f, name="conv_2", **dtypes)(vit.patches(x, 2)))
    x = nn.Conv(2 * f, (3, 3), padding="VALID", name="conv_3", **dtypes)(x)
    x = nn.relu(x).reshape(len(x), -1)
    x = nn.relu(nn.Dense(16 * f, name="hidden", **dtypes)(x))
    logits = nn.Dense(self.num_outputs - 1, name="logits", **dtypes)(x)
    value = nn.Dense(1, name="value", **dtypes)(x)
    return jnp.concatenate([logits, value], -1)
