"""Folders of version 0.1 are still resumed, evaluated, measured and reported.

Those of folders.tar.gz were written before the modules of the program were
moved.
Numbers are compared loosely, since other processors round otherwise.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from analysis import restored
from analysis import table
from configs import sweep
import data
from run_folder import files
import train

FINISHED = ("run", "pruned", "batch_norm", "sweep", "game")


def _config(folder):
  """Returns the config of a folder that was made on one device."""
  config = files.load_config(str(folder))
  config.devices_per_run = 1
  return config


@pytest.mark.parametrize("kind", FINISHED)
def test_finished_folders_are_left_alone_and_evaluated(folders, kind):
  folder = folders / kind
  before = json.loads((folder / "result.json").read_text())
  found = train.train_and_evaluate(_config(folder), str(folder))
  assert found == before
  evaluated = train.evaluate(str(folder))
  records = before.get("runs", [before])
  for record, values in zip(records, evaluated, strict=True):
    tested = {n: v for n, v in record["final"].items() if n.startswith("test_")}
    assert tested.keys() <= values.keys()
    if kind != "game":  # Whose actions are drawn.
      want = pytest.approx(tested, rel=1e-3)
      assert {name: values[name] for name in tested} == want


@pytest.mark.parametrize("kind", FINISHED)
def test_their_weights_are_measured_where_training_left_them(folders, kind):
  for run in restored.load(folders / kind):
    objective = run.objective()
    lines = [line for line in run.lines() if "train_loss" in line]
    value = float(objective.value(objective.weights))
    assert np.isfinite(value)
    if kind in ("run", "sweep", "pruned"):
      # Averages over the last steps are near the loss where they ended.
      assert value == pytest.approx(lines[-1]["train_loss"], abs=0.3)


def test_snapshots_are_read(folders):
  (run,) = restored.load(folders / "run")
  first, middle, last = run.snapshots()
  assert [s.step for s in (first, middle, last)] == [0, 18, 36]
  want, got = (np.asarray(r.objective().weights) for r in (run, last))
  np.testing.assert_array_equal(got, want)
  assert np.abs(np.asarray(middle.objective().weights) - want).max() > 1e-3


@pytest.mark.parametrize("kind", ["stopped", "stopped_sweep"])
def test_stopped_folders_go_on(folders, kind, capfd):
  folder = folders / kind
  config = _config(folder)
  result = train.train_and_evaluate(config, str(folder))
  said = capfd.readouterr().out
  assert "resumed at step" in said
  assert result["status"] == "finished"
  assert result["num_steps"] == 36
  # What was logged before is kept, and goes on.
  steps = sorted({line["step"] for line in files.read_lines(folder)})
  assert steps == [9, 18, 27, 36]
  # And it ends as the run that was not stopped, which is in the archive too.
  if kind == "stopped":
    whole = json.loads((folders / "run" / "result.json").read_text())
    for name in ("test_loss", "train_loss", "test_accuracy"):
      want = whole["final"][name]
      assert result["final"][name] == pytest.approx(want, rel=1e-3), name


def _edit_config(folder, edit):
  path = folder / "config.json"
  record = json.loads(path.read_text())
  edit(record["config"])
  path.write_text(json.dumps(record))


def test_a_field_that_came_later_has_its_default(folders, tmp_path):
  """As if an older version had no momentum and no ascent steps."""
  shutil.copytree(folders / "run", folder := tmp_path / "run")
  config = _config(folder)
  result = json.loads((folder / "result.json").read_text())
  for name in ("momentum", "ascent_steps"):
    _edit_config(folder, lambda record, name=name: record.pop(name))
  assert train.train_and_evaluate(config, str(folder)) == result
  config.ascent_steps = 2
  with pytest.raises(files.RunError, match="holds a run with ascent_steps=1"):
    train.train_and_evaluate(config, str(folder))


def test_a_field_that_is_gone_is_named(folders, tmp_path):
  shutil.copytree(folders / "run", folder := tmp_path / "run")
  config = _config(folder)
  _edit_config(folder, lambda record: record.update(warm_restarts=3))
  message = "has a field 'warm_restarts', which this version does not know"
  with pytest.raises(files.RunError, match=message):
    train.train_and_evaluate(config, str(folder))
  with pytest.raises(files.RunError, match=message):
    train.evaluate(str(folder))


def test_all_are_one_table(folders):
  runs = table.read_frame([folders / kind for kind in FINISHED])
  assert len(runs) == 4 + 8
  assert (runs["status"] == "finished").all()
  assert runs["num_parameters"].notna().all()
  assert (
    runs.loc[runs["dataset"] == "digits", "final_test_accuracy"] > 0
  ).all()


def test_measures_of_a_study_belong_to_its_runs(folders):
  (cell,) = (folders / "study" / "cells").iterdir()
  measured = pd.DataFrame(files.read_lines(cell, "measures.jsonl"))
  runs = table.read_frame([cell]).merge(measured, on="run", validate="1:1")
  assert len(runs) == 4
  results = pd.read_csv(folders / "study" / "results.csv")
  np.testing.assert_allclose(runs["lambda_max"], results["lambda_max"])


def test_data_are_those_of_the_config(folders):
  """Of the sweep, whose runs differ in their labels."""
  config = files.load_config(str(folders / "sweep"))
  datasets = data.load_runs(sweep.runs(config))
  assert len({dataset.key("train") for dataset in datasets}) == 3
  assert len({dataset.examples for dataset in datasets}) == 1
