"""Files of a wrong shape are one line, and nobody else's business."""

import json
import shutil
import sys

import numpy as np
import pytest

from analysis import restored
from analysis import table
import report
from run_folder import disk
from run_folder import files
from run_folder import snapshots
import train


@pytest.fixture
def folder(folders, tmp_path):
  return shutil.copytree(folders / "run", tmp_path / "run")


def _edited(path, edit):
  record = json.loads(path.read_text())
  edit(record)
  return json.dumps(record).encode()


WRONG = {
  "list": b"[]",
  "object": b"{}",
  "number": b"5",
  "text": b'"text"',
  "nothing": b"",
  "half": b'{"config": {',
  "bytes": b"\xff\xfe",
  "null": b"null",
  "deep": b"[" * 100_000,
}


def _refuses(folder):
  """Asserts that whoever reads the folder says so in one line."""
  for read in (
    lambda: table.read_frame([folder]),
    lambda: train.train_and_evaluate(CONFIG[0], str(folder)),
  ):
    with pytest.raises(files.RunError) as e:
      read()
    assert "\n" not in str(e.value)
    assert str(folder) in str(e.value)


CONFIG = []


@pytest.fixture(autouse=True)
def _config(folder):
  config = files.load_config(str(folder))
  config.devices_per_run = 1
  CONFIG[:] = [config]


@pytest.mark.parametrize("content", WRONG)
@pytest.mark.parametrize("name", [files.CONFIG, files.RESULT])
def test_a_file_of_a_wrong_shape(folder, name, content):
  (folder / name).write_bytes(WRONG[content])
  _refuses(folder)
  if name == files.CONFIG:
    for read in (restored.load, train.evaluate):
      with pytest.raises(files.RunError, match="not a run folder"):
        read(str(folder))


@pytest.mark.parametrize("name", [files.CONFIG, files.RESULT])
def test_a_folder_in_the_place_of_a_file(folder, name):
  (folder / name).unlink()
  (folder / name).mkdir()
  _refuses(folder)


EDITS = {
  "no status": lambda r: r.pop("status"),
  "other status": lambda r: r.update(status="over"),
  "no final": lambda r: r.pop("final"),
  "final is a list": lambda r: r.update(final=[]),
  "steps are a text": lambda r: r.update(num_steps="36"),
  "more runs": lambda r: r.update(runs=[{}, {}]),
  "runs are a number": lambda r: r.update(runs=1),
  "final has a text": lambda r: r["final"].update(test_accuracy="high"),
  "final has a list": lambda r: r["final"].update(test_loss=[1.0]),
  "best has a number": lambda r: r["best"].update(chosen_by=1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_result_that_lacks_something(folder, edit):
  path = folder / files.RESULT
  path.write_bytes(_edited(path, EDITS[edit]))
  _refuses(folder)


OUTCOME_EDITS = {
  "no metric": lambda r: r["best"].pop("chosen_by"),
  "no epoch": lambda r: r["best"].pop("epoch"),
  "diverged nowhere": lambda r: r.update(status="diverged", diverged={}),
}


@pytest.mark.parametrize("edit", OUTCOME_EDITS)
def test_an_outcome_that_cannot_be_told(folder, edit):
  path = folder / files.RESULT
  path.write_bytes(_edited(path, OUTCOME_EDITS[edit]))
  with pytest.raises(files.RunError, match=r"result\.json"):
    train.train_and_evaluate(CONFIG[0], str(folder))


CONFIG_EDITS = {
  "a wrong value": lambda r: r["config"].update(rho="large"),
  "a contradiction": lambda r: r["config"].update(sparsity=0.5),
  "fields in a list": lambda r: r.update(config=[]),
  "a sweep that is none": lambda r: r["config"].update(sweep=[1]),
}


@pytest.mark.parametrize("edit", CONFIG_EDITS)
def test_a_config_that_cannot_be(folder, edit):
  path = folder / files.CONFIG
  path.write_bytes(_edited(path, CONFIG_EDITS[edit]))
  _refuses(folder)


def test_an_identity_that_lacks_the_devices(folder):
  path = folder / files.CONFIG
  path.write_bytes(_edited(path, lambda r: r["identity"].pop("num_devices")))
  with pytest.raises(files.RunError, match="num_devices"):
    train.train_and_evaluate(CONFIG[0], str(folder))


def test_report_skips_it_for_all_the_others(
  folders, folder, tmp_path, monkeypatch, capsys
):
  (folder / files.RESULT).write_bytes(b"[]")
  whole = [str(folders / name) for name in ("pruned", "sweep")]
  monkeypatch.setattr(sys, "argv", ["report.py", str(folder), *whole])
  report.main()
  said = capsys.readouterr()
  (line,) = (x for x in said.err.splitlines() if "skipped" in x)
  assert line.startswith(f"warning: skipped: workdir {folder}: cannot be used")
  assert "9 runs" in said.out


@pytest.mark.parametrize(
  "content", [*WRONG.values(), "of another model", "a folder"]
)
def test_a_snapshot_of_a_wrong_shape(folder, content):
  path = folder / "snapshots" / "18.npz"
  path.unlink()
  if isinstance(content, bytes):
    path.write_bytes(content)
  elif content == "a folder":
    path.mkdir()
  else:
    np.savez(path, **{"params/Dense_0/kernel": np.zeros(3)})
  (run,) = restored.load(folder)
  with pytest.raises(files.RunError) as e:
    run.snapshots()
  assert "\n" not in str(e.value)


def test_snapshots_of_other_names_are_none(folder):
  for name in ("12abc", "018", "1e3", "٣", "x"):
    path = folder / "snapshots" / "18.npz"
    shutil.copy(path, path.with_name(f"{name}.npz"))
  assert snapshots.steps(folder) == [0, 18, 36]


def test_half_a_line_at_the_end_does_not_spoil_the_next(tmp_path):
  path = tmp_path / "measures.jsonl"
  path.write_text('{"run": "a", "x": 1}\n{"run": "b", "x')
  with disk.Lines(path) as lines:
    lines.add({"run": "b", "x": 2})
  found = files.read_lines(tmp_path, "measures.jsonl")
  assert found == [{"run": "a", "x": 1}, {"run": "b", "x": 2}]
