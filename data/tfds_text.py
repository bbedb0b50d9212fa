"""Texts that are read through TFDS, whole and in the order of its files.

What is 'test' here is the split that the examples of Flax, and so Shin et al.
(UAI 2025), evaluate on: TFDS calls it 'dev' and 'validation'. GLUE does not
publish the labels of its own test sentences.
"""

import ml_collections

from data import dataset
from data import text
from data import tfds_files


def load(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns the data set that the config names.

  Args:
    config: see `text.tagged`.
    data_dir: where TFDS keeps its data; None: its own default.

  Raises:
    DataError: the data is damaged, or is not there and cannot be downloaded.
  """
  if config.dataset == "grc_perseus":
    return _load_tagged(config, data_dir)
  return _load_classified(config, data_dir)


def _load_tagged(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns a treebank of Universal Dependencies, tagged by its 'xpos'."""
  splits = {"train": "train", "test": "dev"}
  builder = tfds_files.open_builder(
    config.dataset, data_dir, tuple(splits.values())
  )
  words, tags = {}, {}
  for ours, theirs in splits.items():
    sentences = list(tfds_files.read_all(builder, theirs, ("tokens", "xpos")))
    words[ours], tags[ours] = (
      [[word.decode() for word in s[name]] for s in sentences]
      for name in ("tokens", "xpos")
    )
  return text.tagged(config, words, tags)


def _load_classified(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns SST-2, whose words are separated by spaces."""
  splits = {"train": "train", "test": "validation"}
  builder = tfds_files.open_builder(
    config.dataset, data_dir, tuple(splits.values())
  )
  words, labels = {}, {}
  for ours, theirs in splits.items():
    sentences = list(
      tfds_files.read_all(builder, theirs, ("sentence", "label"))
    )
    words[ours] = [s["sentence"].decode().split() for s in sentences]
    labels[ours] = [int(s["label"]) for s in sentences]
  num_classes = builder.info.features["label"].num_classes
  return text.classified(config, words, labels, num_classes=num_classes)
