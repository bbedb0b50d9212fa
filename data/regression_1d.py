"""Twelve points of a zigzag: one input, one target.

Shin et al. (UAI 2025), Section 4.1; the points are those of the code that it
follows (Andriushchenko and Flammarion, 2022).
"""

import ml_collections
import numpy as np

from data import dataset

INPUTS = np.arange(-5.5, 6) / 4 + 0.07
TARGETS = 0.345 + np.array([-2, 1.5, 0, 0, 2, 1, 0, -1, 0, 1, 2, -1])


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the points. 'test' is all of them: there is no held-out set."""
  points = dataset.ArraySplit(
    INPUTS[:, None].astype(np.float32), TARGETS[:, None].astype(np.float32)
  )
  return dataset.Dataset(
    name="regression_1d",
    splits={**dataset.hold_out(points, config), "test": points},
    input_shape=(1,),
    num_outputs=1,
    num_classes=None,
  )
