"""A study trains its cells once, and leaves its files."""

import json
import types

import pandas as pd
import pytest

from analysis import figures
from analysis import statistics
from analysis import table as table_lib
from run_folder import files
from studies.kit import cells
from studies.kit import computed
import study


def _cells(preset):
  return [
    cells.create(
      f"width{width}",
      "mlp_digits",
      sweep={"rho": (0.0, rho if preset == "tiny" else 0.3), "seed": (0, 1)},
      labels={"width": width},
      fields={"num_neurons": (width,), "num_epochs": 1, "data_seed": -1},
    )
    for width, rho in ((4, 0.1), (8, 0.2))
  ]


def _claim(results):
  gains = statistics.gains(
    results, ["width"], "final_test_accuracy", "final_validation_accuracy"
  )
  slope = statistics.slope(gains, "width")
  verdict = statistics.verdict(slope, above=0)
  return [
    statistics.claim_record(
      "it grows", "final_test_accuracy", "-", slope, verdict
    )
  ]


def _measure(run):
  lines = run.lines()
  return {"last_step": run.step, "losses": [x["test_loss"] for x in lines]}


STUDY = types.SimpleNamespace(
  PAPER="Figure 0",
  CLAIM="wider is better",
  presets={},
  cells=_cells,
  measure=_measure,
  claim=_claim,
  figure=lambda results: figures.create(1)[0],
)


def test_study(tmp_path, capsys):
  assert study.run(STUDY, "tiny", tmp_path) == 0
  out = capsys.readouterr().out
  assert "8 runs in 2 cells\nestimated time: " in out
  assert "[2/2] width8: 4 runs in " in out
  assert "it grows: " in out
  results = table_lib.read_csv(tmp_path / "results.csv")
  assert len(results) == 8
  assert sorted(results["width"].unique()) == [4, 8]
  assert (results["last_step"] == results["num_steps"]).all()
  assert "losses" not in results
  found = json.loads((tmp_path / "claim.json").read_text())["found"]
  assert found == _claim(results)
  assert found[0]["n"] == 2
  assert (tmp_path / "figure.png").stat().st_size > 1000
  assert (tmp_path / "figure.pdf").exists()

  # What is over is not done again; what is missing is.
  folders = {name: tmp_path / "cells" / name for name in ("width4", "width8")}
  (folders["width4"] / study.MEASURES).unlink()
  trained = {
    name: (folder / files.RESULT).stat().st_mtime_ns
    for name, folder in folders.items()
  }
  (folders["width8"] / files.RESULT).unlink()
  assert study.run(STUDY, "tiny", tmp_path) == 0
  assert "2 cells\n" in capsys.readouterr().out
  for name, before in trained.items():
    path = folders[name] / files.RESULT
    assert (path.stat().st_mtime_ns == before) == (name == "width4")
  assert study.run(STUDY, "tiny", tmp_path) == 0
  assert "2 cells, 2 of them over" in capsys.readouterr().out
  again = table_lib.read_csv(tmp_path / "results.csv")
  columns = results.columns.drop("wall_time_seconds")
  assert again[columns].equals(results[columns])

  # A grid that has changed is not taken for the one that was trained.
  with pytest.raises(files.RunError, match=r"sweep\.rho=\[0\.0, 0\.1\], not"):
    study.run(STUDY, "other", tmp_path)


def _computed_cells(preset):
  return [
    computed.Cell(
      f"width{width}",
      {"width": width, "bias": 0.5 if preset == "tiny" else 1.0},
      num_runs=2,
      labels={"half": width / 2, "workload": workload, "shape": f"w{width}"},
    )
    for width, workload in ((4, "narrow"), (8, "wide"))
  ]


def _computed_claim(results):
  slope = statistics.slope(results, "width", "gain")
  verdict = statistics.verdict(slope, above=0)
  return [statistics.claim_record("it grows", "gain", "-", slope, verdict)]


def test_computed_study(tmp_path, capsys):
  """Its rows come from a function, which is called once a cell."""
  called = []

  def compute(cell):
    called.append(cell.name)
    width, bias = cell.settings["width"], cell.settings["bias"]
    return [
      {"seed": s, "width": width, "gain": bias * width + s, "curve": [1.0]}
      for s in (0, 1)
    ]

  parts = {**vars(STUDY), "cells": _computed_cells, "claim": _computed_claim}
  del parts["measure"]
  made = types.SimpleNamespace(**parts, compute=compute, COMPUTE_SECONDS=1.0)
  assert study.run(made, "tiny", tmp_path) == 0
  out = capsys.readouterr().out
  assert "4 runs in 2 cells\nestimated time: 00:04" in out
  results = pd.read_csv(tmp_path / "results.csv")
  assert list(results)[2:] == ["gain", "half", "workload", "shape"]
  assert results["half"].tolist() == [2, 2, 4, 4]
  found = json.loads((tmp_path / "claim.json").read_text())["found"]
  assert found[0]["value"] == 0.5 * (8 - 4)
  assert (tmp_path / "figure.png").exists()

  (tmp_path / "cells" / "width8" / computed.RESULT).unlink()
  assert study.run(made, "tiny", tmp_path) == 0
  assert called == ["width4", "width8", "width8"]
  with pytest.raises(files.RunError, match=r"bias=0\.5, not 1\.0"):
    study.run(made, "other", tmp_path)

  folder = tmp_path / "part"
  folder.mkdir()
  for part in ({"workloads": ["wide"]}, {"shapes": ["w4"]}):
    study.run(made, "tiny", folder, **part, estimate_only=True)
    assert "2 runs in 1 cells" in capsys.readouterr().out


def test_part_of_a_study(capsys):
  cells_ = _computed_cells("tiny")
  assert study.choose(cells_, "workload", None) == []
  assert study.choose(cells_, "workload", ["wide"]) == ["wide"]
  both = study.choose(cells_, "workload", ["wide", "narrow", "wide"])
  assert both == ["narrow", "wide"]
  unnamed = [computed.Cell("a", {}, num_runs=1)]
  assert study.choose(cells_, "shape", ["w8", "w4"]) == ["w4", "w8"]
  for some, names, allowed in (
    (cells_, ["wide", "tall"], "must be some of narrow, wide"),
    (cells_, [], "must be some of narrow, wide"),
    (unnamed, ["wide"], "this study has no workloads to choose from"),
  ):
    with pytest.raises(SystemExit) as stop:
      study.choose(some, "workload", names)
    assert stop.value.code == 2
    line = f"error: --workload={','.join(names)!r}: {allowed}\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("path", [None, "nowhere.py", "studies/claims.py"])
def test_what_is_no_study(path, capsys):
  with pytest.raises(SystemExit) as stop:
    study.load(path)
  assert stop.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"error: --study={path!r}: ")
