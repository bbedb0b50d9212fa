"""A trigonometric function on the unit sphere of R^4.

Shin et al. (UAI 2025), Appendix I: 1,000 training and 5,000 test examples;
inputs are uniform on the sphere.
"""

import ml_collections
import numpy as np

from data import dataset

NUM_INPUTS = 4
NUM_TRAIN = 1_000
NUM_TEST = 5_000


def function(inputs_Nx4: np.ndarray) -> np.ndarray:
  """Returns (sin 3 x1 + sin 3 x2 + sin 3 x3 - 2)^2 cos 7 x4, [N, 1]."""
  waves = np.sum(np.sin(3 * inputs_Nx4[:, :3]), 1, keepdims=True)
  return (waves - 2) ** 2 * np.cos(7 * inputs_Nx4[:, 3:])


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task; its targets have no noise."""
  rng = np.random.default_rng([dataset.data_seed(config), 0x7219])
  inputs = rng.standard_normal((NUM_TRAIN + NUM_TEST, NUM_INPUTS))
  inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
  targets = function(inputs).astype(np.float32)
  inputs = inputs.astype(np.float32)

  train = dataset.ArraySplit(inputs[:NUM_TRAIN], targets[:NUM_TRAIN])
  test = dataset.ArraySplit(inputs[NUM_TRAIN:], targets[NUM_TRAIN:])
  return dataset.Dataset(
    name="trigonometric",
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(NUM_INPUTS,),
    num_outputs=1,
    num_classes=None,
  )
