"""ResNet-18 for 32x32 and smaller images, ResNet-50 for ImageNet.

As in the published code of Shin et al. (UAI 2025): post-activation, BatchNorm
momentum 0.9 and epsilon 1e-5, convolutions without bias, widths f, 2f, 4f, 8f.
"""

from collections.abc import Callable
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import convolution

# Blocks in each stage.
STAGES = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class BasicBlock(nn.Module):
  """Two 3x3 convolutions and a shortcut (ResNet-18)."""

  filters: int
  strides: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.conv(self.filters, (3, 3), self.strides, padding=1)(x)
    y = nn.relu(self.norm()(y))
    y = self.conv(self.filters, (3, 3), padding=1)(y)
    y = self.norm()(y)
    if x.shape != y.shape or self.strides != 1:
      x = self.conv(self.filters, (1, 1), self.strides, name="conv_proj")(x)
      x = self.norm(name="norm_proj")(x)
    return nn.relu(x + y)


class BottleneckBlock(nn.Module):
  """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet-50).

  The scale of the last BatchNorm starts at zero.
  """

  filters: int
  strides: int
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = nn.relu(self.norm()(self.conv(self.filters, (1, 1))(x)))
    y = self.conv(self.filters, (3, 3), self.strides)(y)
    y = nn.relu(self.norm()(y))
    y = self.conv(4 * self.filters, (1, 1))(y)
    y = self.norm(scale_init=nn.initializers.zeros_init())(y)
    if x.shape != y.shape:
      x = self.conv(4 * self.filters, (1, 1), self.strides, name="conv_proj")(x)
      x = self.norm(name="norm_proj")(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Residual network.

  Attributes:
    num_outputs: width of the output.
    num_filters: f, the filters of the first stage.
    variant: 'resnet18' (3x3 stem, no pooling) or 'resnet50' (7x7 stem of
      stride 2, 3x3 max-pooling of stride 2).
    blocks_per_stage: residual blocks in each stage; 0: those in `STAGES`.
    batch_norm_axis: mapped axis over which BatchNorm takes its statistics;
      None: those of the device.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_filters: int
  variant: str = "resnet18"
  blocks_per_stage: int = 0
  batch_norm_axis: str | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images_BxHxWxC: jax.Array, train: bool = True):
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    conv: Callable[..., nn.Module] = functools.partial(
      nn.Conv,
      use_bias=False,
      conv_general_dilated=convolution.conv_general_dilated,
      **dtypes,
    )
    norm = functools.partial(
      nn.BatchNorm,
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      axis_name=self.batch_norm_axis,
      # Flax would keep running averages in float32 even for float64.
      force_float32_reductions=self.dtype != jnp.float64,
      **dtypes,
    )
    x = images_BxHxWxC
    if self.variant == "resnet18":
      block: type[nn.Module] = BasicBlock
      x = conv(self.num_filters, (3, 3), padding=1, name="conv_init")(x)
      x = nn.relu(norm(name="bn_init")(x))
    else:
      block = BottleneckBlock
      x = conv(self.num_filters, (7, 7), 2, padding=3, name="conv_init")(x)
      x = nn.relu(norm(name="bn_init")(x))
      x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
    for stage, num_blocks in enumerate(STAGES[self.variant]):
      for i in range(self.blocks_per_stage or num_blocks):
        strides = 2 if stage > 0 and i == 0 else 1
        x = block(self.num_filters * 2**stage, strides, conv, norm)(x)
    # On 32x32 images this is the published 4x4 average pooling.
    x = jnp.mean(x, (1, 2))
    return nn.Dense(self.num_outputs, **dtypes)(x)
