"""Small image data sets in the files that their authors published.

MNIST and Fashion-MNIST are idx files, CIFAR is its "binary version". They are
read without TensorFlow, in the order of TFDS's files, so that a run is the same
by either.
"""

from collections.abc import Iterable, Mapping
import gzip
import hashlib
import pathlib
import zlib

import numpy as np

from data import dataset

# Of each split: the images and the labels.
_IDX = {
  "train": ("train-images", "train-labels"),
  "test": ("t10k-images", "t10k-labels"),
}
_CIFAR: Mapping[str, Mapping[str, tuple[str, ...]]] = {
  "cifar10": {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
  },
  "cifar100": {"train": ("train.bin",), "test": ("test.bin",)},
}
_CIFAR_SHAPE = (3, 32, 32)
NUM_CLASSES = {
  "mnist": 10,
  "fashion_mnist": 10,
  "cifar10": 10,
  "cifar100": 100,
}
# Where the files may lie: below the folder of all data, which may be their own,
# as torchvision and the archives leave them; and, last, where Debian's package
# puts them.
FOLDERS: dict[str, tuple[str, ...]] = {
  "mnist": ("mnist", "MNIST/raw", "."),
  "fashion_mnist": (
    "fashion_mnist",
    "FashionMNIST/raw",
    "fashion-mnist",
    ".",
    "/usr/share/datasets/fashion-mnist",
  ),
  "cifar10": ("cifar10", "cifar-10-batches-bin", "."),
  "cifar100": ("cifar100", "cifar-100-binary", "."),
}
# One of the files, by which they are looked for and asked for.
EXAMPLE = {
  "mnist": "train-images-idx3-ubyte.gz",
  "fashion_mnist": "train-images-idx3-ubyte.gz",
  "cifar10": "data_batch_1.bin",
  "cifar100": "train.bin",
}


def find(name: str, root: pathlib.Path) -> pathlib.Path | None:
  """Returns the folder of the files of a data set; None: there is none.

  Args:
    name: of the data set in the config.
    root: the folder of all data.
  """
  for folder in FOLDERS.get(name, ()):
    if _first_file(name, root / folder) is not None:
      return root / folder
  return None


def _first_file(name: str, folder: pathlib.Path) -> pathlib.Path | None:
  if name in _CIFAR:
    path = folder / EXAMPLE[name]
    return path if path.is_file() else None
  return _idx_file(folder, "train-images")


def read(name: str, folder: pathlib.Path) -> dict[str, dataset.ArraySplit]:
  """Returns 'train' and 'test' in the order of TFDS's files.

  Args:
    name: of the data set in the config.
    folder: from `find`.

  Raises:
    DataError: a file is missing or damaged.
  """
  splits = {}
  for split in ("train", "test"):
    if name in _CIFAR:
      images, labels = _read_cifar(folder, _CIFAR[name][split])
    else:
      images, labels = _read_mnist(folder, *_IDX[split])
    if not len(labels) or labels.max() >= NUM_CLASSES[name]:
      raise _damaged(folder, f"the labels of {split} are no classes of {name}")
    order = tfds_order(len(labels), split)
    splits[split] = dataset.ArraySplit(
      images[order], labels[order].astype(np.int32)
    )
  return splits


def tfds_order(num_examples: int, split: str) -> np.ndarray:
  """Returns which example, by its published place, TFDS has at each place.

  TFDS sorts the examples of a split by the MD5 of its name and their place.
  """
  of_split = hashlib.md5(split.encode())
  digests = []
  for i in range(num_examples):
    of_example = of_split.copy()
    of_example.update(str(i).encode())
    digests.append(of_example.digest())
  return np.array(sorted(range(num_examples), key=digests.__getitem__), int)


def _damaged(path: pathlib.Path, what: str) -> dataset.DataError:
  return dataset.DataError(f"{path}: cannot be read ({what})")


def _read_mnist(
  folder: pathlib.Path, images_name: str, labels_name: str
) -> tuple[np.ndarray, np.ndarray]:
  images = _read_idx(folder, images_name, 3)[..., None]
  labels = _read_idx(folder, labels_name, 1)
  if len(images) != len(labels):
    raise _damaged(
      folder,
      f"{images_name} has {len(images)} examples, {labels_name} {len(labels)}",
    )
  return images, labels


def _idx_file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """Returns the file of this name; archives write it with '-' or '.'."""
  axes = "3" if name.endswith("images") else "1"
  for separator in "-.":
    for ending in ("", ".gz"):
      path = folder / f"{name}{separator}idx{axes}-ubyte{ending}"
      if path.is_file():
        return path
  return None


def _read_idx(folder: pathlib.Path, name: str, num_axes: int) -> np.ndarray:
  """Returns the bytes of an idx file: http://yann.lecun.com/exdb/mnist."""
  path = _idx_file(folder, name)
  if path is None:
    raise dataset.DataError(
      f"{folder}: has no {name}-idx{num_axes}-ubyte, with or without .gz"
    )
  content = _bytes(path)
  # Two zeros, the kind (8: uint8), the number of axes, their sizes.
  if content[:4] != bytes((0, 0, 8, num_axes)):
    raise _damaged(path, f"no idx file of bytes along {num_axes} axes")
  sizes = np.frombuffer(content[4 : 4 + 4 * num_axes], ">u4").tolist()
  values = np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes)
  if values.size != np.prod(sizes):
    raise _damaged(path, f"{values.size} bytes, not {sizes}")
  return values.reshape(sizes)


def _bytes(path: pathlib.Path) -> bytes:
  try:
    if path.suffix == ".gz":
      with gzip.open(path) as file:
        return file.read()
    return path.read_bytes()
  except (OSError, EOFError, zlib.error) as e:
    raise _damaged(path, f"{e}") from e


def _read_cifar(
  folder: pathlib.Path, names: Iterable[str]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what https://www.cs.toronto.edu/~kriz/cifar.html describes.

  An example is its label, before which CIFAR-100 has a coarse one, then the
  red, the green and the blue pixels.
  """
  num_pixels = int(np.prod(_CIFAR_SHAPE))
  images, labels = [], []
  for name in names:
    path = folder / name
    if not path.is_file():
      raise dataset.DataError(f"{folder}: has no {name}")
    content = np.frombuffer(_bytes(path), np.uint8)
    num_labels = 2 if name in ("train.bin", "test.bin") else 1
    if content.size % (num_labels + num_pixels):
      raise _damaged(path, f"{content.size} bytes are no whole examples")
    rows = content.reshape(-1, num_labels + num_pixels)
    labels.append(rows[:, num_labels - 1])
    pixels = rows[:, num_labels:].reshape(-1, *_CIFAR_SHAPE)
    images.append(pixels.transpose(0, 2, 3, 1))
  return np.concatenate(images), np.concatenate(labels)


def missing(name: str, root: pathlib.Path) -> str:
  """Returns what to do about missing files; '' if others cannot be read."""
  if name not in EXAMPLE:
    return ""
  return (
    f"or put the published files ({EXAMPLE[name]} and those beside it) into"
    f" {root / name}, "
  )
