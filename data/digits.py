"""The 1,797 real 8x8 grey images of handwritten digits inside scikit-learn.

360 of them are the test set; of the other 1,437 `validation_fraction` is held
out. Both draws depend on `data_seed` alone.
"""

import gzip
import importlib.util
import pathlib

import ml_collections
import numpy as np

from data import augment
from data import dataset

NUM_TEST = 360
MAX_PIXEL = 16


def read() -> tuple[np.ndarray, np.ndarray]:
  """Returns images, uint8 [1797, 8, 8, 1], and labels, int32 [1797].

  The import of scikit-learn takes a second, and its file is a small one.
  """
  package = importlib.util.find_spec("sklearn")
  if package is None or package.origin is None:
    raise dataset.DataError("scikit-learn, which has the digits, is missing")
  folder = pathlib.Path(package.origin).parent
  with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
    table = np.loadtxt(file, np.uint8, delimiter=",")
  return table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int32)


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the digits, with pixels in [0, 1]."""
  images, labels = read()
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
    normalize=dataset.Scaled(MAX_PIXEL),
  )
