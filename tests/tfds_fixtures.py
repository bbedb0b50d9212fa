"""Writes small data sets to disk as TFDS would after a download.

Names, versions, features and split names are those of the real data sets, so
`tfds.builder(name, data_dir=...)` reads them. They can be learned: each class
of images has a coarse pattern of its own, under noise; the number in a word
decides its tag, the first word the class of a sentence, and one feature of its
atoms the labels of a molecule.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]
# (label, shape, generator) -> uint8 image.
MakeImage = Callable[[int, tuple[int, ...], np.random.Generator], np.ndarray]
NUM_CELLS = 7  # The pattern of a class has 7x7 cells in every channel.


def images_and_labels(
  num_examples: int, shape: tuple[int, ...], num_labels: int, seed: int
) -> Arrays:
  """Returns uint8 images [N, H, W, C] and labels i % num_labels, int64 [N]."""
  rng = np.random.default_rng([seed, 1])
  labels = np.arange(num_examples) % num_labels
  images = np.stack([image(label, shape, rng) for label in labels])
  return images, labels


def image(
  label: int, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
  """Returns an image of a class: its pattern in two shades, with noise."""
  height, width, channels = shape
  pattern = np.random.default_rng([label, 2]).choice(
    [-60, 60], (NUM_CELLS, NUM_CELLS, channels)
  )
  rows = np.arange(height) * NUM_CELLS // height
  columns = np.arange(width) * NUM_CELLS // width
  clean = 128 + pattern[rows][:, columns]
  return np.clip(clean + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)


def write(
  name: str,
  data_dir: Any,
  *,
  num_train: int,
  num_test: int,
  num_labels: int | None = None,
) -> dict[str, Arrays]:
  """Writes any of the small data sets.

  Args:
    name: 'mnist', 'fashion_mnist', 'cifar10', 'cifar100' or 'svhn_cropped'.
    data_dir: what is then given to `tfds.builder`.
    num_train: training examples.
    num_test: test examples.
    num_labels: how many of the classes occur; None: all.

  Returns:
    'train' and 'test' -> the images and labels written. TFDS's files have them
    in another order.
  """
  features = _features(name)
  num_labels = num_labels or features["label"].num_classes
  shape = features["image"].shape
  splits = {
    "train": images_and_labels(num_train, shape, num_labels, seed=0),
    "test": images_and_labels(num_test, shape, num_labels, seed=1),
  }
  constants = {"id": "", "coarse_label": 0}

  def examples(images: np.ndarray, labels: np.ndarray) -> Iterator[Any]:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      example = {"image": image, "label": int(label)}
      yield (
        i,
        {name: example.get(name, constants.get(name)) for name in features},
      )

  _store(name, data_dir, {s: examples(*x) for s, x in splits.items()})
  return splits


def write_imagenet(
  data_dir: Any,
  *,
  num_train: int,
  num_test: int,
  num_labels: int = 1000,
  num_shards: int = 1,
  heights: tuple[int, int] = (256, 320),
  widths: tuple[int, int] = (256, 320),
  make_image: MakeImage = image,
) -> None:
  """Writes ImageNet: JPEG files of many sizes, label i % num_labels.

  Args:
    data_dir: what is then given to `tfds.builder`.
    num_train: training examples.
    num_test: examples of the split that TFDS calls 'validation'.
    num_labels: how many of the 1000 classes occur.
    num_shards: files per split.
    heights: smallest and largest height, in pixels.
    widths: smallest and largest width.
    make_image: draws an image.
  """
  import tensorflow as tf

  def examples(num_examples: int, seed: int) -> Iterator[Any]:
    rng = np.random.default_rng([seed, 3])
    for i in range(num_examples):
      label = i % num_labels
      height, width = (rng.integers(low, high + 1) for low, high in sizes)
      pixels = make_image(label, (height, width, 3), rng)
      # With full chroma, or a decoded crop would differ from the crop of a
      # decoded image: libjpeg makes up the colours at its edges.
      jpeg = tf.io.encode_jpeg(pixels, quality=100, chroma_downsampling=False)
      file_name = f"n{label:08d}_{i}.JPEG"
      yield (
        i,
        {"image": jpeg.numpy(), "label": label, "file_name": file_name},
      )

  sizes = (heights, widths)
  _store(
    "imagenet2012",
    data_dir,
    {"train": examples(num_train, 0), "validation": examples(num_test, 1)},
    num_shards=num_shards,
  )


def sentences(num_examples: int, seed: int) -> list[list[str]]:
  """Returns sentences of 1 to 8 of 20 Greek words, logos0 to logos19.

  So they have one trimmed size, and what trains on them compiles once.
  """
  rng = np.random.default_rng([seed, 4])
  return [
    [f"λόγος{i}" for i in rng.integers(0, 20, n)]
    for n in rng.integers(1, 9, num_examples)
  ]


def write_grc_perseus(data_dir: Any, *, num_train: int, num_test: int) -> None:
  """Writes the treebank of Ancient Greek; word7 has the tag 'n-s7 % 5'.

  Args:
    data_dir: what is then given to `tfds.builder`.
    num_train: training sentences.
    num_test: sentences of the split 'dev'; 'test' has one.
  """

  def examples(num_examples: int, seed: int) -> Iterator[Any]:
    for i, words in enumerate(sentences(num_examples, seed)):
      others = ("lemmas", "feats", "head", "deprel", "deps", "misc")
      yield (
        i,
        {
          "idx": str(i),
          "text": " ".join(words),
          "tokens": words,
          "upos": ["NOUN"] * len(words),
          "xpos": [f"n-s{int(word[5:]) % 5}" for word in words],
          **{name: ["_"] * len(words) for name in others},
        },
      )

  _store(
    "universal_dependencies/grc_perseus",
    data_dir,
    {
      "train": examples(num_train, 0),
      "dev": examples(num_test, 1),
      "test": examples(1, 2),
    },
  )


def write_sst2(data_dir: Any, *, num_train: int, num_test: int) -> None:
  """Writes SST-2; the class is the parity of the number of the first word.

  Args:
    data_dir: what is then given to `tfds.builder`.
    num_train: training sentences.
    num_test: sentences of the split 'validation'; 'test' has one, unlabelled.
  """

  def examples(num_examples: int, seed: int) -> Iterator[Any]:
    for i, words in enumerate(sentences(num_examples, seed)):
      label = -1 if seed == 2 else int(words[0][5:]) % 2
      # The sentences of SST-2 end with a space.
      yield i, {"sentence": " ".join(words) + " ", "label": label, "idx": i}

  _store(
    "glue/sst2",
    data_dir,
    {
      "train": examples(num_train, 0),
      "validation": examples(num_test, 1),
      "test": examples(1, 2),
    },
  )


def write_ogbg_molpcba(data_dir: Any, *, num_train: int, num_test: int) -> None:
  """Writes molecules; the parity of task and first feature is the label.

  Args:
    data_dir: what is then given to `tfds.builder`.
    num_train: molecules of 'train'.
    num_test: molecules of 'validation', and of 'test'.
  """
  splits = {"train": num_train, "validation": num_test, "test": num_test}
  _store(
    "ogbg_molpcba",
    data_dir,
    {
      name: enumerate(molecules(size, seed))
      for seed, (name, size) in enumerate(splits.items())
    },
  )


def molecules(num_examples: int, seed: int) -> list[dict[str, np.ndarray]]:
  """Returns rings of 3 to 8 atoms as TFDS has them; a tenth of labels is NaN.

  The first feature of all atoms is 0 or 1, in turn from molecule to molecule.
  """
  rng = np.random.default_rng([seed, 5])
  examples = []
  for i, n in enumerate(rng.integers(3, 9, num_examples)):
    nodes = rng.integers(0, 3, (n, 9)).astype(np.float32)
    nodes[:, 0] = i % 2
    labels = ((np.arange(128) + nodes[0, 0]) % 2).astype(np.float32)
    labels[rng.random(128) < 0.1] = np.nan
    ring = np.stack([np.arange(n), (np.arange(n) + 1) % n], 1)
    examples.append(
      {
        "node_feat": nodes,
        "edge_feat": np.zeros((n, 3), np.float32),
        "edge_index": ring,
        "labels": labels,
        "num_nodes": np.array([n]),
        "num_edges": np.array([n]),
      }
    )
  return examples


def _features(name: str) -> Any:
  import tensorflow_datasets as tfds

  return tfds.builder(name, data_dir="/nonexistent").info.features


def _store(
  name: str,
  data_dir: Any,
  splits: dict[str, Iterator[Any]],
  num_shards: int | None = None,
) -> None:
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  builder = tfds.builder(name, data_dir="/nonexistent")
  name, _, config = name.partition("/")
  tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    config=config or None,
    version=builder.version,
    features=builder.info.features,
    split_datasets=splits,
    data_dir=str(data_dir),
    download_config=tfds.download.DownloadConfig(num_shards=num_shards),
  )
