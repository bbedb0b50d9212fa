"""Augmentation of small images, inside the training step."""

import jax
import jax.numpy as jnp

from data import dataset


def crop_and_flip(padding: int, *, flip: bool) -> dataset.Augment:
  """Returns a random crop of the zero-padded image, perhaps mirrored.

  Every example has a key of its own, so that what happens to it does not
  depend on how the batch is spread over devices.

  Args:
    padding: black pixels added on each side before the crop.
    flip: whether to mirror left and right with probability 1/2.
  """

  def one(key: jax.Array, image_HxWxC: jax.Array) -> jax.Array:
    crop_key, flip_key = jax.random.split(key)
    padded = jnp.pad(image_HxWxC, [(padding, padding)] * 2 + [(0, 0)])
    top, left = jax.random.randint(crop_key, (2,), 0, 2 * padding + 1)
    crop = jax.lax.dynamic_slice(padded, (top, left, 0), image_HxWxC.shape)
    if not flip:
      return crop
    return jnp.where(jax.random.bernoulli(flip_key), crop[:, ::-1], crop)

  return jax.vmap(one)
