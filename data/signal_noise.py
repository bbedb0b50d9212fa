"""Patches of signal and of noise: Chen et al. (2023, arXiv 2310.07269).

An example of class y = +-1 has P patches in R^d. One of them, at random, is
y mu, where mu = ||mu|| e_1; the others are one noise xi ~ N(0, sigma_p^2 I).
`label_noise` flips training labels, not their signal. Test labels are clean, so
the paper's test error under a rate p of flips is p + (1 - 2 p) times ours.
"""

import ml_collections
import numpy as np

from data import dataset

NUM_TEST = 1_000


def draw(
  rng: np.random.Generator,
  num_examples: int,
  config: ml_collections.ConfigDict,
) -> dataset.ArraySplit:
  """Returns examples [N, P, d] and classes [N], 1 where y = 1."""
  labels = rng.integers(0, 2, num_examples, dtype=np.int32)
  places = rng.integers(0, config.num_patches, num_examples)
  noises = rng.standard_normal((num_examples, config.input_dim), np.float32)
  noises *= config.noise_scale
  inputs = np.repeat(noises[:, None], config.num_patches, axis=1)
  rows = np.arange(num_examples)
  inputs[rows, places] = 0
  inputs[rows, places, 0] = config.signal_norm * (2 * labels - 1)
  return dataset.ArraySplit(inputs, labels)


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns `num_train` and 1,000 test examples."""
  rng = np.random.default_rng([dataset.data_seed(config), 0x516])
  train = draw(rng, config.num_train, config)
  test = draw(rng, NUM_TEST, config)
  return dataset.Dataset(
    name="signal_noise",
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(config.num_patches, config.input_dim),
    num_outputs=1,
    num_classes=2,
  )
