"""Image classification data sets that are read through TFDS.

The small ones are read whole, in the order of TFDS's files; ImageNet is
streamed (data/imagenet.py).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import ml_collections
import numpy as np

from data import augment
from data import dataset
from data import imagenet
from data import tfds_files


@dataclasses.dataclass(frozen=True)
class _Recipe:
  """What happens to the images of a data set.

  Attributes:
    padding: of the random crop, in pixels on each side.
    flip: whether left and right may be exchanged.
    mean: of pixel / 255, per channel.
    std: of pixel / 255, per channel.
  """

  padding: int
  flip: bool
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
  builder = tfds_files.open_builder(config.dataset, data_dir, ("train", "test"))
  train = _read(builder, "train")
  num_classes = builder.info.features["label"].num_classes
  return dataset.Dataset(
    name=config.dataset,
    splits={
      **dataset.hold_out(train, config),
      "test": _read(builder, "test"),
    },
    input_shape=builder.info.features["image"].shape,
    num_outputs=num_classes,
    num_classes=num_classes,
    augment=(
      augment.crop_and_flip(recipe.padding, flip=recipe.flip)
      if config.augment
      else None
    ),
    normalize=dataset.image_normalizer(recipe.mean, recipe.std),
  )


def _read(builder: Any, split: str) -> dataset.ArraySplit:
  import tensorflow_datasets as tfds

  with tfds_files.readable(builder.data_dir):
    examples = builder.as_dataset(
      split=split,
      batch_size=-1,
      shuffle_files=False,
      read_config=tfds.ReadConfig(try_autocache=False),
    )
  return dataset.ArraySplit(
    examples["image"].numpy(), examples["label"].numpy().astype(np.int32)
  )
