"""Convolutions whose weights get their gradient sooner: the same numbers."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from models import convolution

SPEC = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def _arrays(shape, kernel_shape):
  x_key, k_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(x_key, shape, jnp.float32)
  return x, jax.random.normal(k_key, kernel_shape, jnp.float32)


@pytest.mark.parametrize(
  ("shape", "kernel_shape", "strides", "padding"),
  [
    ((6, 8, 8, 4), (3, 3, 4, 5), (1, 1), ((1, 1), (1, 1))),
    ((6, 8, 8, 4), (3, 3, 4, 5), (2, 2), ((1, 1), (1, 1))),
    ((2, 15, 14, 3), (7, 7, 3, 2), (2, 2), ((3, 3), (3, 3))),
    ((2, 9, 6, 3), (3, 2, 3, 2), (2, 1), "SAME"),
    ((2, 10, 7, 3), (3, 3, 3, 2), (2, 3), "VALID"),  # Pixels are left over.
  ],
)
def test_gradients_are_those_of_the_plain_one(
  shape, kernel_shape, strides, padding
):
  x, kernel = _arrays(shape, kernel_shape)

  def gradients(convolve):
    def loss(x, kernel):
      return jnp.sum(jnp.sin(convolve(x, kernel, strides, padding, **SPEC)))

    return jax.grad(loss, (0, 1))(x, kernel)

  with convolution.first_order():
    found = gradients(convolution.conv_general_dilated)
  for mine, plain in zip(
    found, gradients(lax.conv_general_dilated), strict=True
  ):
    np.testing.assert_allclose(mine, plain, rtol=1e-5, atol=1e-5)


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
