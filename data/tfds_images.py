"""Image classification data sets that are read through TFDS.

The small ones are read whole, in the order of TFDS's files, and kept decoded
(data/kept.py); where TFDS's files are not there, from those that the authors
published (data/published.py). ImageNet is streamed (data/imagenet.py).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import ml_collections
import numpy as np

from data import augment
from data import dataset
from data import imagenet
from data import kept
from data import published
from data import tfds_files

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class _Recipe:
  """What happens to the images of a data set.

  Attributes:
    padding: of the random crop, in pixels on each side.
    flip: whether left and right may be exchanged.
    num_classes: of its labels.
    mean: of pixel / 255, per channel.
    std: of pixel / 255, per channel.
  """

  padding: int
  flip: bool
  num_classes: int = 10
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)


_RECIPES: Mapping[str, _Recipe] = {
  "mnist": _Recipe(padding=2, flip=False),
  "fashion_mnist": _Recipe(padding=2, flip=True),
  "cifar10": _Recipe(
    padding=4,
    flip=True,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
  ),
  # The paper trains on neither of these two: the statistics are those in
  # common use.
  "cifar100": _Recipe(
    padding=4,
    flip=True,
    num_classes=100,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
  ),
  "svhn_cropped": _Recipe(
    padding=4,
    flip=False,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
  ),
}


def load(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns the data set that the config names.

  Args:
    config: reads dataset, augment, train_fraction, validation_fraction,
      data_seed, cache and seed.
    data_dir: where TFDS keeps its data; None: its own default.

  Raises:
    DataError: the data is damaged, or is not there and cannot be downloaded.
  """
  if config.dataset == "imagenet2012":
    return imagenet.load(config, data_dir)
  recipe = _RECIPES[config.dataset]
  splits = _splits(config.dataset, data_dir)
  train = splits["train"]
  return dataset.Dataset(
    name=config.dataset,
    splits={
      **dataset.hold_out(train, config),
      "test": splits["test"],
    },
    input_shape=train.inputs.shape[1:],
    num_outputs=recipe.num_classes,
    num_classes=recipe.num_classes,
    augment=(
      augment.crop_and_flip(recipe.padding, flip=recipe.flip)
      if config.augment
      else None
    ),
    normalize=dataset.image_normalizer(recipe.mean, recipe.std),
  )


def _splits(name: str, data_dir: str | None) -> dict[str, dataset.ArraySplit]:
  """Returns 'train' and 'test' whole."""
  prepared = tfds_files.prepared(name, data_dir)
  folder = published.find(name, tfds_files.root(data_dir))
  if not prepared and folder is not None:
    return published.read(name, folder)

  def decode() -> dict[str, np.ndarray]:
    builder = tfds_files.open_builder(name, data_dir, SPLITS)
    return {k: x for split in SPLITS for k, x in _read(builder, split).items()}

  if prepared:
    versions = sorted({file.parent.name for file in prepared})
    arrays = kept.load("-".join((name, *versions)), prepared, decode)
  else:
    arrays = decode()  # Once TFDS has made its files.
  return {
    split: dataset.ArraySplit(
      arrays[f"{split}_images"], arrays[f"{split}_labels"]
    )
    for split in SPLITS
  }


def _read(builder: Any, split: str) -> dict[str, np.ndarray]:
  import tensorflow_datasets as tfds

  with tfds_files.readable(builder.data_dir):
    examples = builder.as_dataset(
      split=split,
      batch_size=-1,
      shuffle_files=False,
      read_config=tfds.ReadConfig(try_autocache=False),
    )
  return {
    f"{split}_images": examples["image"].numpy(),
    f"{split}_labels": examples["label"].numpy().astype(np.int32),
  }
