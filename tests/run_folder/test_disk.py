"""Files are whole, or as they were; nothing is written through a link."""

import errno
import json
import logging
import os
import resource
import shutil
import sys
import types

import jax
import numpy as np
import pytest

from analysis import figures
from analysis import table
from program import cli
from run_folder import checkpoints
from run_folder import disk
from run_folder import files
from run_folder import quiet_orbax
from run_folder import snapshots
from run_folder import tensorboard
from tests import helpers

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _fail(*args, **kwargs):
  raise NO_SPACE


# --- no space left -----------------------------------------------------------


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
  path = tmp_path / "x.json"
  disk.write_json(path, {"a": 1})
  monkeypatch.setattr(disk.os, "fsync", _fail)
  with pytest.raises(OSError, match="No space"):
    disk.write_json(path, {"a": 2})
  assert disk.read_object(path) == {"a": 1}
  assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("method", ["append", "keep_lines_up_to", "finish"])
def test_a_run_says_that_no_space_is_left(tmp_path, monkeypatch, method):
  folder = files.RunFolder(str(tmp_path), helpers.config(), 1)
  folder.append({"step": 1, "loss": 2.0})
  monkeypatch.setattr(disk.Lines, "add", _fail)
  monkeypatch.setattr(disk.os, "fsync", _fail)
  argument = 1 if method == "keep_lines_up_to" else {"step": 2}
  message = rf"workdir {tmp_path}: cannot be used \(No space left on the disk\)"
  with pytest.raises(disk.RunError, match=message):
    getattr(folder, method)(argument)
  folder.close()  # Says nothing again.
  assert files.read_lines(tmp_path) == [{"step": 1, "loss": 2.0}]


def test_a_part_of_a_line_is_dropped(tmp_path, monkeypatch):
  path = tmp_path / "x.jsonl"
  with disk.Lines(path) as lines:
    lines.add({"a": 1})
  path.write_bytes(path.read_bytes() + b'{"a": 2, "b')
  with disk.Lines(path) as lines:
    lines.add({"a": 3})
  assert path.read_text() == '{"a": 1}\n{"a": 3}\n'


def test_threads_of_orbax_say_nothing(tmp_path, caplog):
  """Where files may have ten bytes, as where there is no space left."""
  with caplog.at_level(logging.ERROR):
    saved = checkpoints.Checkpoints(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
      weights = {"params": {"x": np.arange(1000.0)}, "model_state": {}}
      saved.save(1, {"weights": jax.device_get(weights)}, None)
      with pytest.raises(checkpoints.CheckpointError, match="cannot save") as e:
        saved.wait()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    saved.close()
  assert "\n" not in str(e.value)
  assert not caplog.records
  assert checkpoints.Checkpoints(tmp_path).restore_newest({}) is None


def test_what_orbax_writes_too_late_is_not_told(monkeypatch):
  told = []
  monkeypatch.setattr(sys, "unraisablehook", told.append)
  quiet_orbax.set_up.__wrapped__()
  for error in (RuntimeError("Event loop is closed"), RuntimeError("other")):
    sys.unraisablehook(types.SimpleNamespace(exc_value=error))
  assert [str(x.exc_value) for x in told] == ["other"]


def test_tensorboard_ends_in_one_line(tmp_path, monkeypatch, capfd):
  """Also where the file is closed, with what could not be written."""
  whole = tensorboard.EventsWriter._open

  def open_full(self):
    whole(self)
    self._file.close()
    self._file = open("/dev/full", "wb")
    self._records = type(self._records)(self._file)

  monkeypatch.setattr(tensorboard.EventsWriter, "_open", open_full)
  writer = tensorboard.EventsWriter(str(tmp_path))
  for step in range(3):
    writer.write_scalars(step, {"a": 1.0})
  writer.close()
  (line,) = capfd.readouterr().err.splitlines()
  assert line.startswith("warning: TensorBoard events end here: ")
  assert "No space left" in line


# --- links -------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path):
  """A folder of somebody else; nothing may change in it."""
  path = tmp_path / "victim"
  path.mkdir()
  (path / "file").write_text("precious")
  yield path
  assert [p.name for p in path.iterdir()] == ["file"]
  assert (path / "file").read_text() == "precious"


@pytest.mark.parametrize(
  "name", [".lock", files.METRICS, *files.FOLDERS, "seed=1"]
)
def test_a_run_is_not_written_through_a_link(tmp_path, victim, name):
  folder = tmp_path / "run"
  folder.mkdir()
  is_file = name in (".lock", files.METRICS)
  (folder / name).symlink_to(victim / "file" if is_file else victim)
  config = helpers.config(sweep={"seed": (0, 1)})
  with pytest.raises(disk.RunError, match=rf"{name} is a symbolic link"):
    files.RunFolder(str(folder), config, 1)
  if name == "checkpoints":
    with pytest.raises(disk.RunError, match=rf"{name} is a symbolic link"):
      checkpoints.Checkpoints(folder)


def test_a_link_is_replaced_by_the_file(tmp_path, victim):
  """In the place of the file, or of the one that is written first."""
  folder = tmp_path / "run"
  (folder / snapshots.FOLDER).mkdir(parents=True)
  names = [files.CONFIG, files.RESULT, "table.csv", "figure.png", "figure.pdf"]
  for name in [*names, "snapshots/3.npz"]:
    path = folder / name
    for link in (path, path.with_name(f".{path.name}.tmp")):
      link.symlink_to(victim / "file")
  (folder / files.CONFIG).unlink()  # Which would be read.
  run = files.RunFolder(str(folder), helpers.config(), 1)
  run.finish({})
  run.close()
  snapshots.save(folder, 3, {"params": {"x": np.zeros(3)}})
  table.write_csv(table.pd.DataFrame({"a": [1]}), folder / "table.csv")
  figures.save(figures.create(1)[0], folder)
  for name in [*names, "snapshots/3.npz"]:
    assert (folder / name).is_file(), name
    assert not (folder / name).is_symlink(), name
  assert not list(folder.rglob("*.tmp"))


# --- what is read back -------------------------------------------------------


def test_a_checkpoint_that_was_just_replaced_is_looked_for_again(
  tmp_path, monkeypatch
):
  saved = checkpoints.Checkpoints(tmp_path)
  weights = {"params": {"x": np.arange(3.0)}, "model_state": {}}
  for step in (1, 2):
    saved.save(step, {"weights": weights}, score=float(step))
  saved.wait()
  find = checkpoints._find

  def find_and_replace(manager, steps, which):
    step = find(manager, steps, which)
    if step == 2:  # The run goes on, and finds a better one.
      saved.save(3, {"weights": weights}, score=3.0)
      saved.wait()
      shutil.rmtree(tmp_path / "checkpoints" / "2")
    return step

  monkeypatch.setattr(checkpoints, "_find", find_and_replace)
  step, _ = checkpoints.restore(tmp_path, "best", {"weights": weights})
  assert step == 3
  saved.close()


@pytest.mark.parametrize("facts", ["[]", "5", "{}", '{"score": "high"}'])
def test_what_a_checkpoint_states_of_itself_is_checked(tmp_path, facts):
  saved = checkpoints.Checkpoints(tmp_path)
  weights = {"params": {"x": np.arange(3.0)}, "model_state": {}}
  saved.save(1, {"weights": weights}, score=1.0)
  saved.close()
  step = tmp_path / "checkpoints" / "1"
  (step / "metrics" / "metrics").write_text(facts)
  checkpoints.sums.write(step)
  for which in ("best", "1"):
    with pytest.raises(checkpoints.CheckpointError, match="1 is damaged"):
      checkpoints.restore(tmp_path, which, {"weights": weights})


@pytest.mark.parametrize(
  "edit",
  [
    {"step": "1"},
    {"run": 5},
    {"loss": "low"},
    {"diverged": {"step": 1}},
    {"loss": None},
  ],
)
def test_a_line_of_another_shape_is_none(tmp_path, edit):
  whole = {"run": "a", "step": 1, "loss": 0.5}
  lines = [whole, whole | edit]
  path = tmp_path / files.METRICS
  texts = [*map(json.dumps, lines), "[" * 100_000, "5"]
  path.write_text("\n".join(texts) + "\n")
  assert files.read_lines(tmp_path) == [whole]


# --- paths -------------------------------------------------------------------


def test_home_is_expanded(monkeypatch, capsys):
  monkeypatch.setenv("HOME", "/home/me")
  assert cli.path("~/runs") == "/home/me/runs"
  assert cli.path("runs/~x") == "runs/~x"
  with pytest.raises(SystemExit):
    cli.path("~nobody-of-this-name/runs")
  assert "there is no such user" in capsys.readouterr().err


@pytest.mark.parametrize(
  "flags",
  [
    ("--mode=eval", "--workdir=~/none"),
    ("--config=~/none.py",),
  ],
)
def test_home_is_expanded_in_flags(refused, monkeypatch, tmp_path, flags):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert f"{tmp_path}/none" in refused(*flags, jax=True)
