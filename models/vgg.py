"""VGG-11 for 32x32 and smaller images, without BatchNorm.

Simonyan and Zisserman (2015), configuration A, with the one linear layer that
is usual for CIFAR. Shin et al. (UAI 2025) linearise it in Appendix E.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import convolution

# The convolutions of each stage, in multiples of the filters of the first.
STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))


class VGG11(nn.Module):
  """3x3 convolutions with biases and ReLU, and 2x2 max-pooling after a stage.

  Kernels of convolutions start as those of He et al. (2015), normal with
  variance 2 / fan-in (tails cut off at two standard deviations of the uncut);
  the linear layer as Flax's, with variance 1 / fan-in; biases at 0.

  Attributes:
    num_outputs: width of the output.
    num_filters: f, the filters of the first stage; the later have 2f, 4f, 8f,
      8f. 64 is the standard.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  num_filters: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, images_BxHxWxC: jax.Array, train: bool = True
  ) -> jax.Array:
    del train  # Trains and evaluates alike.
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = images_BxHxWxC
    for stage in STAGES:
      for multiple in stage:
        x = nn.Conv(
          multiple * self.num_filters,
          (3, 3),
          kernel_init=nn.initializers.he_normal(),
          conv_general_dilated=convolution.conv_general_dilated,
          **dtypes,
        )(x)
        x = nn.relu(x)
      # Small images are down to one pixel before the last stage.
      if min(x.shape[1:3]) > 1:
        x = nn.max_pool(x, (2, 2), (2, 2))
    return nn.Dense(self.num_outputs, **dtypes)(x.reshape(len(x), -1))
