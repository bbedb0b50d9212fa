"""Convolutions that take less time in training: the same numbers."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from models import convolution

SPEC = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def _arrays(shape, kernel_shape, dtype=jnp.float32):
  x_key, k_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(x_key, shape, dtype)
  return x, jax.random.normal(k_key, kernel_shape, dtype)


@pytest.mark.parametrize(
  ("shape", "kernel_shape", "strides", "padding"),
  [
    ((6, 8, 8, 4), (3, 3, 4, 5), (1, 1), ((1, 1), (1, 1))),
    ((6, 8, 8, 4), (3, 3, 4, 5), (2, 2), ((1, 1), (1, 1))),
    ((2, 5, 6, 4), (3, 3, 4, 5), (1, 1), "SAME"),  # Not in blocks of 4.
    ((2, 5, 4, 3), (3, 3, 3, 8), (1, 1), "SAME"),
    ((2, 5, 8, 8), (3, 3, 8, 8), (1, 1), "SAME"),  # More than few channels.
    ((2, 15, 14, 3), (7, 7, 3, 2), (2, 2), ((3, 3), (3, 3))),
    ((2, 9, 6, 3), (3, 2, 3, 2), (2, 1), "SAME"),
    ((2, 10, 7, 3), (3, 3, 3, 2), (2, 3), "VALID"),  # Pixels are left over.
  ],
)
def test_gradients_are_those_of_the_plain_one(
  shape, kernel_shape, strides, padding
):
  with jax.enable_x64(True):
    x, kernel = _arrays(shape, kernel_shape, jnp.float64)

  def gradients(convolve):
    def loss(x, kernel):
      return jnp.sum(jnp.sin(convolve(x, kernel, strides, padding, **SPEC)))

    return jax.grad(loss, (0, 1))(x, kernel)

  with jax.enable_x64(True):
    expected = gradients(lax.conv_general_dilated)
    with convolution.first_order():
      found = gradients(convolution.conv_general_dilated)
  for mine, plain in zip(found, expected, strict=True):
    np.testing.assert_allclose(mine, plain, rtol=1e-10, atol=1e-12)


def test_it_is_plain_outside_and_sooner_within():
  x, kernel = _arrays((2, 4, 4, 3), (3, 3, 3, 2))

  def of(kernel):
    return convolution.conv_general_dilated(x, kernel, (1, 1), "SAME", **SPEC)

  plain = str(jax.make_jaxpr(of)(kernel))
  with convolution.first_order():
    sooner = str(jax.make_jaxpr(lambda kernel: of(kernel))(kernel))
  assert ("custom_vjp" in plain, "custom_vjp" in sooner) == (
    False,
    jax.default_backend() == "cpu",
  )
  jax.jvp(of, (kernel,), (kernel,))  # Measures of sharpness need this.
