"""What tests keep from one time to the next has a limit, and needs no place."""

import shutil

from tests import kept_programs


def test_what_is_too_much_is_deleted(tmp_path, monkeypatch):
  monkeypatch.setattr(kept_programs, "_KEPT", tmp_path / "new")
  folder = kept_programs.folder()
  assert folder.parent == tmp_path / "new"
  (folder / "program").write_bytes(bytes(8))
  monkeypatch.setattr(kept_programs, "_MOST_BYTES", 8)
  assert list(kept_programs.folder().iterdir()) == [folder / "program"]
  monkeypatch.setattr(kept_programs, "_MOST_BYTES", 7)
  assert kept_programs.folder() == folder
  assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
  (tmp_path / "file").touch()
  monkeypatch.setattr(kept_programs, "_KEPT", tmp_path / "file" / "jax")
  folder = kept_programs.folder()
  assert tmp_path not in folder.parents
  assert not list(folder.iterdir())
  shutil.rmtree(folder)
