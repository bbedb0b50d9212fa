"""Images in the files that their authors published, made by hand."""

import gzip
import struct
import sys

import numpy as np
import pytest

from configs import base
from data import dataset
from data import published
from data import tfds_images
from tests import tfds_fixtures

NUM = {"train": 40, "test": 20}
SHAPES = {
  "mnist": (28, 28, 1),
  "fashion_mnist": (28, 28, 1),
  "cifar10": (32, 32, 3),
  "cifar100": (32, 32, 3),
}
DEBIAN = published.FOLDERS["fashion_mnist"][-1]


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch):
  folders = published.FOLDERS["fashion_mnist"][:-1]
  monkeypatch.setitem(published.FOLDERS, "fashion_mnist", folders)


def idx(array: np.ndarray) -> bytes:
  """Returns an array of bytes as an idx file."""
  head = bytes((0, 0, 8, array.ndim))
  return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, splits, *, separator="-", ending=".gz"):
  folder.mkdir(parents=True)
  for split, prefix in (("train", "train"), ("test", "t10k")):
    images, labels = splits[split]
    for kind, array, axes in (
      ("images", images[..., 0], 3),
      ("labels", labels.astype(np.uint8), 1),
    ):
      content = idx(array)
      name = f"{prefix}-{kind}{separator}idx{axes}-ubyte{ending}"
      (folder / name).write_bytes(gzip.compress(content) if ending else content)


def write_cifar(folder, splits, *, coarse):
  folder.mkdir(parents=True)

  def rows(images, labels):
    before = [np.full((len(labels), 1), 7)] if coarse else []
    pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [*before, labels[:, None], pixels]
    return np.concatenate(columns, 1).astype(np.uint8).tobytes()

  images, labels = splits["train"]
  if coarse:
    (folder / "train.bin").write_bytes(rows(images, labels))
    (folder / "test.bin").write_bytes(rows(*splits["test"]))
    return
  for i in range(5):  # As many examples each.
    part = slice(8 * i, 8 * (i + 1))
    (folder / f"data_batch_{i + 1}.bin").write_bytes(
      rows(images[part], labels[part])
    )
  (folder / "test_batch.bin").write_bytes(rows(*splits["test"]))


def made(name):
  num_labels = published.NUM_CLASSES[name]
  return {
    split: tfds_fixtures.images_and_labels(
      size, SHAPES[name], num_labels, seed=int(split == "test")
    )
    for split, size in NUM.items()
  }


WRITERS = {
  "mnist": lambda root, s: write_mnist(root / "MNIST" / "raw", s, ending=""),
  "fashion_mnist": lambda root, s: write_mnist(root / "fashion-mnist", s),
  "cifar10": lambda root, s: write_cifar(
    root / "cifar-10-batches-bin", s, coarse=False
  ),
  "cifar100": lambda root, s: write_cifar(
    root / "cifar-100-binary", s, coarse=True
  ),
}


def load(name, root):
  config = base.get_config()
  config.dataset = name
  return tfds_images.load(config, str(root))


@pytest.mark.parametrize("name", WRITERS)
def test_they_are_what_tfds_gives_in_its_order(name, tmp_path, monkeypatch):
  """TFDS's own writer, whose keys are the places of the examples, shuffles."""
  WRITERS[name](tmp_path / "published", made(name))
  with monkeypatch.context() as context:
    context.setitem(sys.modules, "tensorflow_datasets", None)
    mine = load(name, tmp_path / "published")
  tfds_fixtures.write(
    name,
    tmp_path / "tfds",
    num_train=NUM["train"],
    num_test=NUM["test"],
  )
  theirs = load(name, tmp_path / "tfds")
  for split in NUM:
    a, b = mine.splits[split], theirs.splits[split]
    assert a.inputs.dtype == b.inputs.dtype
    assert a.targets.dtype == b.targets.dtype
    np.testing.assert_array_equal(a.inputs, b.inputs)
    np.testing.assert_array_equal(a.targets, b.targets)
  assert mine.num_classes == theirs.num_classes
  assert mine.input_shape == theirs.input_shape
  assert mine.normalize == theirs.normalize


def test_the_order_of_mnist():
  """Noted from TFDS's files, which begin with a 4, a 1, a 0 and a 7."""
  order = published.tfds_order(60_000, "train")
  assert sorted(order.tolist()) == list(range(60_000))
  assert order[:4].tolist() == [16399, 1680, 47917, 17307]


def test_the_folder_itself_and_dots(tmp_path):
  write_mnist(tmp_path / "here", made("mnist"), separator=".", ending="")
  assert load("mnist", tmp_path / "here").splits["train"].num_examples == 40


def test_tfds_goes_first(tmp_path):
  WRITERS["mnist"](tmp_path, made("mnist"))
  tfds_fixtures.write("mnist", tmp_path, num_train=12, num_test=5)
  assert load("mnist", tmp_path).splits["train"].num_examples == 12


def damage_magic(folder):
  (folder / "train-labels-idx1-ubyte").write_bytes(b"no idx")


def damage_length(folder):
  path = folder / "t10k-images-idx3-ubyte"
  path.write_bytes(path.read_bytes()[:-1])


def damage_count(folder):
  labels = np.zeros(39, np.uint8)
  (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))


def damage_label(folder):
  labels = np.full(40, 10, np.uint8)
  (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))


def remove(folder):
  (folder / "t10k-labels-idx1-ubyte").unlink()


def damage_gzip(folder):
  path = folder / "train-images-idx3-ubyte"
  content = gzip.compress(path.read_bytes())
  path.unlink()
  path.with_name(f"{path.name}.gz").write_bytes(content[:-30])


@pytest.mark.parametrize(
  ("change", "line"),
  [
    (damage_magic, "train-labels-idx1-ubyte: cannot be read (no idx file of"),
    (damage_length, "t10k-images-idx3-ubyte: cannot be read (15679 bytes, not"),
    (damage_count, "raw: cannot be read (train-images has 40 examples, train-"),
    (damage_label, "raw: cannot be read (the labels of train are no classes"),
    (remove, "raw: has no t10k-labels-idx1-ubyte, with or without .gz"),
    (damage_gzip, "train-images-idx3-ubyte.gz: cannot be read (Compressed"),
  ],
)
def test_damaged_idx_files(tmp_path, change, line):
  WRITERS["mnist"](tmp_path, made("mnist"))
  change(tmp_path / "MNIST" / "raw")
  with pytest.raises(dataset.DataError) as e:
    load("mnist", tmp_path)
  assert line in str(e.value)


def test_damaged_cifar_files(tmp_path):
  WRITERS["cifar10"](tmp_path, made("cifar10"))
  path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
  path.write_bytes(path.read_bytes() + b"x")
  with pytest.raises(dataset.DataError, match="are no whole examples"):
    load("cifar10", tmp_path)
  path.unlink()
  with pytest.raises(dataset.DataError, match=r"has no data_batch_3\.bin"):
    load("cifar10", tmp_path)


def test_debians_fashion_mnist(monkeypatch):
  """https://packages.debian.org/dataset-fashion-mnist, if it is installed."""
  folders = (*published.FOLDERS["fashion_mnist"], DEBIAN)
  monkeypatch.setitem(published.FOLDERS, "fashion_mnist", folders)
  if published.find("fashion_mnist", published.pathlib.Path("/none")) is None:
    pytest.skip(f"dataset-fashion-mnist is not installed in {DEBIAN}")
  mine = load("fashion_mnist", "/none")
  train, test = mine.splits["train"], mine.splits["test"]
  assert (train.num_examples, test.num_examples) == (60_000, 10_000)
  assert np.bincount(train.targets).tolist() == [6000] * 10
  # Published statistics, of pixels in [0, 1].
  assert train.inputs.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
  assert train.inputs.std() / 255 == pytest.approx(0.3530, abs=1e-4)
  # Its first labels, in the published order.
  place = np.argsort(published.tfds_order(60_000, "train"))
  assert train.targets[place][:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]
