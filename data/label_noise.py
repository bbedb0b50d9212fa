"""Wrong training labels.

A noisy label is (label + offset) modulo the number of classes, so noise needs
no look at the labels and is the same for resident and streamed data.
"""

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
