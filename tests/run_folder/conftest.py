"""Run folders to read, and to damage."""

import pathlib
import tarfile

import pytest

ARCHIVE = pathlib.Path(__file__).with_name("folders.tar.gz")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """Small folders of every kind, of version 0.1.

  A run with snapshots, a pruned one, one with BatchNorm, a sweep, one of each
  that was stopped, a game, and a study with its measures.
  """
  path = tmp_path_factory.mktemp("folders")
  with tarfile.open(ARCHIVE) as archive:
    archive.extractall(path, filter="data")
  return path
