"""Convolutions that take less time in training, on a CPU.

XLA takes the gradient of the weights by a convolution over the images, with
their examples as channels, and so brings [N, H, W, C] to [C, H, W, N]. It reads
one number after the other, H x W x C apart, which can take longer than the
convolution. Here the same array is made of pieces that stay in a cache.

With few channels, XLA's convolutions take no less time than with 16. Here four
neighbouring columns are the channels of one, for a larger kernel, half of which
is zeros.

docs/speed.md has the times.
"""

from collections.abc import Iterator, Sequence
import contextlib
import contextvars
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp

_SPEC = ("NHWC", "HWIO", "NHWC")
_USUAL = (
  ("feature_group_count", 1),
  ("lhs_dilation", (1, 1)),
  ("rhs_dilation", (1, 1)),
  ("precision", None),
)
# Channels of the images, times those of the result; and columns at once.
_FEW, _COLUMNS = 32, 4
_sooner = contextvars.ContextVar("sooner", default=False)

# How many pixels are added before and after, to height and width.
Padding = Sequence[tuple[int, int]]


@contextlib.contextmanager
def first_order() -> Iterator[None]:
  """Within, models are differentiated once and in reverse alone.

  Nothing else can be done with what is traced here: no `jax.jvp`.
  """
  token = _sooner.set(jax.default_backend() == "cpu")
  try:
    yield
  finally:
    _sooner.reset(token)


def conv_general_dilated(
  images_NxHxWxC: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: str | Padding,
  **options: Any,
) -> jax.Array:
  """Convolves as `lax.conv_general_dilated`, for `nn.Conv` of that name."""
  height, width = kernel.shape[:2]
  is_usual = all(options.get(name, value) == value for name, value in _USUAL)
  if not _sooner.get() or not is_usual or height * width == 1:
    return lax.conv_general_dilated(
      images_NxHxWxC, kernel, strides, padding, **options
    )
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(
      images_NxHxWxC.shape[1:3], (height, width), strides, padding
    )
  return _convolve(images_NxHxWxC, kernel, tuple(strides), tuple(padding))


def _plain(
  images: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
) -> jax.Array:
  return lax.conv_general_dilated(
    images, kernel, strides, padding, dimension_numbers=_SPEC
  )


def _primal(
  images: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
) -> jax.Array:
  if _has_few_channels(images, kernel, strides, padding):
    return _by_columns(images, kernel)
  return _plain(images, kernel, strides, padding)


_convolve = jax.custom_vjp(_primal, nondiff_argnums=(2, 3))


def _forward(images, kernel, strides, padding):
  return _primal(images, kernel, strides, padding), (images, kernel)


def _backward(strides, padding, kept, gradient):
  images, kernel = kept
  if _has_few_channels(images, kernel, strides, padding):
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    of_images = _by_columns(gradient, turned)
  else:
    transposed = jax.linear_transpose(
      lambda x: _plain(x, kernel, strides, padding), images
    )
    (of_images,) = transposed(gradient)
  # The window is the gradient; it has as many places as the kernel has pixels.
  places = [
    (first, pixels - first + stride * (window - 1) - size)
    for size, pixels, window, stride, (first, _) in zip(
      images.shape[1:3],
      kernel.shape[:2],
      gradient.shape[1:3],
      strides,
      padding,
      strict=True,
    )
  ]
  of_kernel = lax.conv_general_dilated(
    _examples_last(images),
    gradient.transpose(1, 2, 0, 3),
    (1, 1),
    places,
    rhs_dilation=strides,
    dimension_numbers=_SPEC,
  )
  return of_images, of_kernel.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)


def _examples_last(images_NxHxWxC: jax.Array) -> jax.Array:
  """Returns the images as [C, H, W, N].

  XLA would make one transposition of three, but for the loop.
  """
  rows_HxWxNxC = images_NxHxWxC.transpose(1, 2, 0, 3)
  rows_HxWxCxN = lax.map(lambda row: row.transpose(0, 2, 1), rows_HxWxNxC)
  return rows_HxWxCxN.transpose(2, 0, 1, 3)


def _has_few_channels(
  images: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
) -> bool:
  """Returns whether `_by_columns` can do it, and takes less time."""
  rows, columns, channels, filters = kernel.shape
  keeps_size = strides == (1, 1) and padding == ((1, 1), (1, 1))
  fits = (rows, columns) == (3, 3) and images.shape[2] % _COLUMNS == 0
  return keeps_size and fits and channels * filters <= _FEW


def _by_columns(images: jax.Array, kernel: jax.Array) -> jax.Array:
  """Convolves with a 3x3 kernel, some columns at once; the size stays."""
  n, height, width, channels = images.shape
  blocks = images.reshape(n, height, width // _COLUMNS, _COLUMNS * channels)
  # With the columns beside them, which are zero at the borders.
  before, after = (
    jnp.pad(x, ((0, 0), (0, 0), pad, (0, 0)))
    for x, pad in (
      (blocks[:, :, :-1, -channels:], (1, 0)),
      (blocks[:, :, 1:, :channels], (0, 1)),
    )
  )
  blocks = jnp.concatenate([before, blocks, after], -1)
  # [3, 4 + 2, C, 4, F]: for each column, the kernel in its place.
  kernels = jnp.stack(
    [
      jnp.pad(kernel, ((0, 0), (i, _COLUMNS - 1 - i), (0, 0), (0, 0)))
      for i in range(_COLUMNS)
    ],
    -2,
  )
  kernels = kernels.reshape(3, 1, blocks.shape[-1], -1)
  found = _plain(blocks, kernels, (1, 1), ((1, 1), (0, 0)))
  return found.reshape(n, height, width, -1)
