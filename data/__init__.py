"""Data sets: one file per source, `load(config)` for all of them."""

import ml_collections

from data import dataset
from data import digits
from data import label_noise
from data import teacher_student
from data import tfds_images
from data.dataset import DataError as DataError
from data.dataset import Dataset as Dataset


def load(
  config: ml_collections.ConfigDict, data_dir: str | None = None
) -> Dataset:
  """Returns the data set that the config names, with its label noise.

  Args:
    config: reads the fields of the section "data" in configs/base.py, and seed.
    data_dir: where TFDS keeps its data; None: its own default
      (`TFDS_DATA_DIR`, then ~/tensorflow_datasets).

  Raises:
    DataError: the data is not there and cannot be downloaded.
  """
  if config.dataset == "digits":
    clean = digits.load(config)
  elif config.dataset == "teacher_student":
    clean = teacher_student.load(config)
  else:
    clean = tfds_images.load(config, data_dir)
  if not config.label_noise:
    return clean
  return dataset.with_noisy_labels(clean, label_noise.from_config(config))
