"""Wrong training labels.

A noisy label is (label + offset) modulo the number of classes, so noise needs
no look at the labels and is the same for resident and streamed data. That of
label-noise SGD is drawn anew at every step.
"""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from data import dataset


def offsets(
  num_labels: int, num_classes: int, rate: float, kind: str, seed: int
) -> np.ndarray:
  """Returns the offset of every label, int32 [N]; 0 keeps the label.

  Exactly round(rate * N) labels are wrong. For one seed, those wrong at a
  lower rate are wrong, in the same way, at every higher one.

  Args:
    num_labels: N, the number of examples, unless they have several.
    num_classes: number of classes.
    rate: fraction of wrong labels, in [0, 1].
    kind: 'symmetric' (uniform over the other classes) or 'pair' (the next
      class).
    seed: of the draw.

  Raises:
    ValueError: unknown kind.
  """
  rng = np.random.default_rng([seed, 0x1ABE1])
  order = rng.permutation(num_labels)
  if kind == "symmetric":
    wrong = rng.integers(1, num_classes, num_labels, dtype=np.int32)
  elif kind == "pair":
    wrong = np.ones(num_labels, np.int32)
  else:
    raise ValueError(f"unknown label noise {kind!r}")
  kept = order[round(rate * num_labels) :]
  wrong[kept] = 0
  return wrong


def from_config(config: ml_collections.ConfigDict) -> dataset.LabelOffsets:
  """Returns (num_labels, num_classes) -> offsets, as the config says."""
  return lambda num_labels, num_classes: offsets(
    num_labels,
    num_classes,
    config.label_noise,
    config.label_noise_type,
    config.seed,
  )


def at_step(
  keys_B: jax.Array, targets: jax.Array, amount: float, *, flips: bool
) -> jax.Array:
  """Returns targets with fresh noise, for one step.

  Args:
    keys_B: a key for each example.
    targets: real ones, [B, C], or classes 0 and 1, [B], which stand for -1 and
      +1.
    amount: the probability of a flip, or the standard deviation of what is
      added to the targets, -1 and +1 included.
    flips: whether classes are flipped.
  """
  if flips:
    is_flipped_B = jax.vmap(lambda k: jax.random.bernoulli(k, amount))(keys_B)
    return jnp.where(is_flipped_B, 1 - targets, targets)
  # In a class lies half the distance between -1 and +1.
  scale = amount if targets.ndim > 1 else amount / 2
  noise = jax.vmap(lambda k: jax.random.normal(k, targets.shape[1:]))(keys_B)
  return targets + scale * noise
