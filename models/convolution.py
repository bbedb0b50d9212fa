"""Convolutions whose weights get their gradient sooner, on a CPU.

XLA takes that gradient by a convolution over the images, with their examples as
channels, and so brings [N, H, W, C] to [C, H, W, N]. On a CPU it reads one
number after the other, H x W x C apart, which can take longer than the
convolution (docs/speed.md). Here the same array is made of pieces that stay in
a cache.
"""

from collections.abc import Iterator, Sequence
import contextlib
import contextvars
from typing import Any

import jax
from jax import lax

_SPEC = ("NHWC", "HWIO", "NHWC")
_USUAL = (
  ("feature_group_count", 1),
  ("lhs_dilation", (1, 1)),
  ("rhs_dilation", (1, 1)),
  ("precision", None),
)
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


_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2, 3))


def _forward(images, kernel, strides, padding):
  return _plain(images, kernel, strides, padding), (images, kernel)


def _backward(strides, padding, kept, gradient):
  images, kernel = kept
  of_images = jax.linear_transpose(
    lambda x: _plain(x, kernel, strides, padding), images
  )
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
  return *of_images(gradient), of_kernel.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)


def _examples_last(images_NxHxWxC: jax.Array) -> jax.Array:
  """Returns the images as [C, H, W, N].

  XLA would make one transposition of three, but for the loop.
  """
  rows_HxWxNxC = images_NxHxWxC.transpose(1, 2, 0, 3)
  rows_HxWxCxN = lax.map(lambda row: row.transpose(0, 2, 1), rows_HxWxNxC)
  return rows_HxWxCxN.transpose(2, 0, 1, 3)
