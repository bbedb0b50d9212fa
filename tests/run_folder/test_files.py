"""The files of a run folder: whose it is, and which lines it keeps."""

import json
import pathlib

import pytest

from configs import fields as fields_lib
from configs import reading
from run_folder import files
from run_folder import scoring
from tests import helpers


def _snapshot(path: pathlib.Path):
  """Returns all files with their content and when they changed."""
  return {
    str(p.relative_to(path)): (p.stat().st_mtime_ns, p.read_bytes())
    for p in path.rglob("*")
    if p.is_file()
  }


def _open(path, num_devices=1, **fields):
  return files.RunFolder(str(path), helpers.config(**fields), num_devices)


def _changed(name, value):
  """Returns another value that the field accepts."""
  field = fields_lib.FIELDS[name]
  if field.choices:
    return next(c for c in field.choices if c != value)
  if field.kind is bool:
    return not value
  if field.kind is str:
    return value + "x"
  if field.kind is tuple:
    return (*value, 5 if field.entries is int else 0.5)
  others = (value + 1, 2 * value, value / 2, 0.25, 0.75)
  return next(
    field.kind(v)
    for v in others
    if v != value and field.kind(v) == v and field.accepts(field.kind(v))
  )


CONFIGS = [
  {"optimizer": "sam", "perturbation": "adaptive", "label_noise": 0.1},
  {"optimizer": "adamw", "model": "resnet18"},
  {"optimizer": "sgd", "sparsity": 0.5, "pruner": "magnitude"},
  {
    "dataset": "teacher_student",
    "loss": "squared_error",
    "lr_scheduler": "cosine",
    "num_train_steps": 5,
  },
]


@pytest.mark.parametrize("fields", CONFIGS)
def test_whose_folder_it_is(tmp_path, fields):
  """A cadence field may change; any other that is read may not."""
  config = helpers.config(**fields)
  _open(tmp_path, **fields).close()
  for name, field in fields_lib.FIELDS.items():
    # What follows from the devices is compared; for sweeps, see test_sweep.py.
    if field.each or name == "devices_per_run":
      continue
    old = config[name]
    new = _changed(name, old)
    other = config.copy_and_resolve_references()
    other[name] = new
    if field.cadence or not reading.is_read(name, config):
      assert files.read_result(str(tmp_path), other, 1) is None, name
      folder = files.RunFolder(str(tmp_path), other, 1)
      folder.close()
      saved = json.loads((tmp_path / files.CONFIG).read_text())["config"]
      assert saved[name] == files.to_json(other)[name]
      _open(tmp_path, **fields).close()
      continue
    before = _snapshot(tmp_path)
    stated = [list(v) if field.kind is tuple else v for v in (old, new)]
    expected = f"holds a run with {name}={stated[0]!r}, not {stated[1]!r};"
    for attempt in (files.read_result, files.RunFolder):
      with pytest.raises(files.RunError) as error:
        attempt(str(tmp_path), other, 1)
      assert expected in str(error.value)
    assert _snapshot(tmp_path) == before, name


def test_number_of_devices_is_part_of_a_run(tmp_path):
  _open(tmp_path, num_devices=2).close()
  with pytest.raises(files.RunError, match="num_devices=2, not 1"):
    _open(tmp_path, num_devices=1)


def test_one_process_at_a_time(tmp_path):
  folder = _open(tmp_path)
  before = _snapshot(tmp_path)
  with pytest.raises(files.RunError, match="in use by another process"):
    _open(tmp_path)
  assert _snapshot(tmp_path) == before
  folder.close()
  with pytest.raises(files.RunError, match="seed=0, not 1"):
    _open(tmp_path, seed=1)
  _open(tmp_path).close()


@pytest.mark.parametrize("text", ["", "{", "{}", "\xff"])
def test_unusable_config_file(tmp_path, text):
  (tmp_path / files.CONFIG).write_text(text, encoding="latin-1")
  for attempt in (files.read_result, files.RunFolder):
    with pytest.raises(files.RunError, match="cannot be used"):
      attempt(str(tmp_path), helpers.config(), 1)


def test_folder_that_is_a_file(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(files.RunError, match="cannot be used"):
    _open(tmp_path / "file")


def test_result(tmp_path):
  read = [str(tmp_path / "run"), helpers.config(), 1]
  assert files.read_result(*read) is None
  folder = _open(tmp_path / "run")
  assert files.read_result(*read) is None
  result = {
    "status": "finished",
    "num_parameters": 9,
    "num_unpruned_parameters": 9,
    "num_steps": 3,
    "wall_time_seconds": 0.5,
    "device": "cpu",
    "final": {"step": 3, "epoch": 1.0, "test_loss": 1.0},
    "best": {
      "chosen_by": "test_loss",
      "step": 3,
      "epoch": 1.0,
      "test_loss": 1.0,
    },
  }
  folder.finish(result)
  folder.close()
  assert files.read_result(*read) == result


# --- metrics.jsonl -----------------------------------------------------------


@pytest.mark.parametrize(
  "cut_off", ["", "{", '{"step": 9, "loss": 0.', '{"step": 9, "loss": 0.5}']
)
def test_keeps_lines_up_to_the_checkpoint(tmp_path, cut_off):
  folder = _open(tmp_path)
  lines = [{"step": step, "loss": 1 / step} for step in (3, 6, 9)]
  for line in lines[:2]:
    folder.append(line)
  folder.close()
  metrics = tmp_path / files.METRICS
  whole = metrics.read_text()
  metrics.write_text(whole + cut_off)

  for step, kept in [(9, 2), (6, 2), (5, 1), (3, 1), (2, 0)]:
    metrics.write_text(whole + cut_off)
    folder = _open(tmp_path)
    folder.keep_lines_up_to(step)
    complete = cut_off.endswith("}") and step == 9
    assert len(folder.lines()) == kept + complete
    folder.append(lines[2])
    folder.sync()
    folder.close()
    assert files.read_lines(tmp_path)[-1] == lines[2]
    assert files.read_lines(tmp_path)[:kept] == lines[:kept]


def test_no_metrics_yet(tmp_path):
  assert files.read_lines(tmp_path) == []
  assert scoring.summarize([]) == {}


def test_summary():
  """Chosen on the validation split; the best test value is named as such."""
  lines = [
    {"step": 1, "train_loss": 3.0},
    {"step": 2, "validation_accuracy": 0.5, "test_accuracy": 0.9},
    {"step": 3, "validation_accuracy": 0.75, "test_accuracy": 0.5},
    {"step": 4, "validation_accuracy": 0.75, "test_accuracy": 0.25},
    {"step": 5, "validation_accuracy": 0.25, "test_accuracy": 0.75},
    {"step": 6, "train_loss": 2.0},
  ]
  assert scoring.summarize(lines) == {
    "final": lines[4],
    "best": {"chosen_by": "validation_accuracy"} | lines[3],
    "best_test_accuracy": 0.9,
  }


def test_summary_of_a_loss():
  lines = [{"step": s, "test_loss": abs(s - 2.5)} for s in range(5)]
  assert scoring.summarize(lines) == {
    "final": lines[4],
    "best": {"chosen_by": "test_loss"} | lines[3],
    "best_test_loss": 0.5,
  }
