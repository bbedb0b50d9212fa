"""The 1,797 real 8x8 grey images of handwritten digits inside scikit-learn.

360 of them are the test set; of the other 1,437 `validation_fraction` is held
out. Both draws depend on `data_seed` alone.
"""

import ml_collections
import numpy as np

from data import augment
from data import dataset

NUM_TEST = 360
MAX_PIXEL = 16


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the digits, with pixels in [0, 1]."""
  from sklearn import datasets  # Takes a second to import.

  bunch = datasets.load_digits()
  images = bunch.images[..., None].astype(np.uint8)
  labels = bunch.target.astype(np.int32)
  key = (dataset.data_seed(config), 0xD161)
  rest, test = dataset.split_off(len(images), NUM_TEST, key)
  train = dataset.ArraySplit(images[rest], labels[rest])
  return dataset.Dataset(
    name="digits",
    splits={
      **dataset.hold_out(train, config),
      "test": dataset.ArraySplit(images[test], labels[test]),
    },
    input_shape=(8, 8, 1),
    num_outputs=10,
    num_classes=10,
    # A digit has no mirror symmetry.
    augment=augment.crop_and_flip(1, flip=False) if config.augment else None,
    normalize=lambda x: dataset.identity(x) / MAX_PIXEL,
  )
