"""Decoded data sets are kept, and made anew when they are damaged."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import base
from data import kept
from data import tfds_images
from tests import entrance
from tests import tfds_fixtures

ARRAYS = {"a": np.arange(1000), "b": np.arange(6, dtype=np.uint8).reshape(2, 3)}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> pathlib.Path:
  monkeypatch.setenv(kept.ENVIRONMENT, str(tmp_path / "cache"))
  return tmp_path / "cache"


@pytest.fixture
def source(tmp_path) -> list[pathlib.Path]:
  path = tmp_path / "records"
  path.write_text("of which the arrays are made")
  return [path]


class Make:
  """Counts how often arrays are made."""

  count = 0

  def __call__(self):
    self.count += 1
    return dict(ARRAYS)


def assert_right(arrays):
  assert arrays.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array)


def test_made_once(cache, source):
  make = Make()
  assert_right(kept.load("x-1.0", source, make))
  found = kept.load("x-1.0", source, make)
  assert_right(found)
  assert all(isinstance(x, np.memmap) for x in found.values())
  assert make.count == 1
  (folder,) = cache.iterdir()  # No temporary one is left.
  assert folder.name.startswith("x-1.0-")
  kept.load("y", source, make)
  assert make.count == 2


def test_made_anew_of_other_files(cache, source):
  make = Make()
  kept.load("x", source, make)
  os.utime(source[0], (1, 1))
  kept.load("x", source, make)
  kept.load("x", [source[0], *source], make)
  assert make.count == 3


def cut(path):
  path.write_bytes(path.read_bytes()[:-1])


def change(path):
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)


def empty(path):
  path.write_bytes(b"")


@pytest.mark.parametrize("name", ["a.npy", "crc32.json"])
@pytest.mark.parametrize("damage", [cut, change, empty, pathlib.Path.unlink])
def test_a_damaged_one_is_made_anew(cache, source, damage, name):
  make = Make()
  kept.load("x", source, make)
  (folder,) = cache.iterdir()
  damage(folder / name)
  assert_right(kept.load("x", source, make))
  assert make.count == 2
  assert_right(kept.load("x", source, make))
  assert make.count == 2


def test_turned_off(cache, source, monkeypatch):
  for value in (kept.OFF, ""):
    monkeypatch.setenv(kept.ENVIRONMENT, value)
    assert_right(kept.load("x", source, Make()))
  assert not cache.exists()


def test_what_cannot_be_kept_is_made(cache, source):
  cache.write_text("no folder")
  make = Make()
  assert_right(kept.load("x", source, make))
  assert make.count == 1


def test_where(monkeypatch):
  monkeypatch.delenv(kept.ENVIRONMENT)
  monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
  assert kept.folder() == pathlib.Path("/caches/sam-overparam-data")
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", "/home/me")
  assert kept.folder() == pathlib.Path("/home/me/.cache/sam-overparam-data")


# Prints whether TensorFlow was imported to load the data.
LOAD = """
import sys
import data
from configs import base
config = base.get_config()
config.dataset = "cifar10"
mine = data.load(config, sys.argv[1])
assert "tensorflow" not in sys.modules, "imported"
print(mine.splits["train"].inputs.sum(), mine.splits["test"].targets.sum())
"""


def test_the_second_start_needs_no_tensorflow(cache, tmp_path):
  data_dir = str(tmp_path / "tfds")
  tfds_fixtures.write("cifar10", data_dir, num_train=40, num_test=20)
  config = base.get_config()
  config.update({"dataset": "cifar10", "validation_fraction": 0.3})
  first = tfds_images.load(config, data_dir).splits
  second = tfds_images.load(config, data_dir).splits
  for name, split in first.items():
    np.testing.assert_array_equal(split.inputs, second[name].inputs)
    np.testing.assert_array_equal(split.targets, second[name].targets)
  done = subprocess.run(
    [sys.executable, "-c", LOAD, data_dir],
    cwd=entrance.ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
