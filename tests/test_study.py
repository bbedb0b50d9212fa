"""A study trains its cells once, and leaves its files."""

import dataclasses
import json
import re

import pandas as pd
import pytest

from analysis import figures
from analysis import selection
from analysis import statistics
from analysis import table as table_lib
from analysis import verdicts
from run_folder import files
from studies.kit import grids
from studies.kit import work
from studies.kit.study import ComputedCell
from studies.kit.study import Measure
from studies.kit.study import Study
from studies.kit.study import TrainedCell
import study


@dataclasses.dataclass
class Trained:
  """Two widths, each with SGD and a rho of its own, or with the same."""

  rho: float | None = None

  def cells(self):
    return [
      TrainedCell(
        f"width{width}",
        grids.create_config(
          "mlp_digits",
          {"rho": (0.0, self.rho or rho), "seed": (0, 1)},
          {"num_neurons": (width,), "num_epochs": 1, "data_seed": -1},
        ),
        {"workload": "mlp_digits", "width": width},
      )
      for width, rho in ((4, 0.1), (8, 0.2))
    ]


def _claims(results):
  gains = selection.gains(
    results, ["width"], "final_test_accuracy", "final_validation_accuracy"
  )
  slope = statistics.slope(gains, "width")
  return [
    verdicts.claim_record(
      "it grows", "final_test_accuracy", "-", slope, above=0
    )
  ]


def _measure(run):
  lines = run.lines()
  return {"last_step": run.step, "losses": [x["test_loss"] for x in lines]}


STUDY = Study(
  paper="Figure 0",
  claim="wider is better",
  presets={"tiny": (Trained(),), "other": (Trained(0.3),)},
  claims=_claims,
  figure=lambda results: figures.create(1)[0],
  measure=Measure(_measure, ("last_step", "losses")),
)


def _run(made, preset, folder, **options):
  return work.run(made, made.cells(preset), folder, **options)


def test_study(tmp_path, capsys):
  assert _run(STUDY, "tiny", tmp_path) == 0
  out = capsys.readouterr().out
  (flops,) = re.findall(
    "8 runs in 2 cells\nestimated time: [0-9:]+, (.+) floating-point", out
  )
  assert "[2/2] width8: 4 runs in " in out
  assert "it grows: " in out
  results = table_lib.read_csv(tmp_path / "results.csv")
  assert len(results) == 8
  assert sorted(results["width"].unique()) == [4, 8]
  assert (results["last_step"] == results["num_steps"]).all()
  # Forward and, twice as much, backward, at two points; 64 inputs, 10 classes.
  products = 2 * 128 * (64 + 10) * results["width"]
  expected = (2 * 3 * products * results["num_steps"]).sum()
  assert float(flops) == pytest.approx(expected, rel=0.05)
  assert "losses" not in results
  found = json.loads((tmp_path / "claim.json").read_text())["found"]
  assert found == verdicts.correct(_claims(results))
  assert found[0]["n"] == 2
  assert (tmp_path / "figure.png").stat().st_size > 1000
  assert (tmp_path / "figure.pdf").exists()

  # What is over is not done again; what is missing, or no longer right, is.
  folders = {name: tmp_path / "cells" / name for name in ("width4", "width8")}
  path = folders["width4"] / work.MEASURES
  first, second, *others = map(json.loads, path.read_text().splitlines())
  del first["last_step"]
  second |= {"measured_step": 1, "last_step": 1}  # Of a shorter run.
  lines = map(json.dumps, [first, second, *others])
  path.write_text("\n".join(lines) + "\n")
  trained = {
    name: (folder / files.RESULT).stat().st_mtime_ns
    for name, folder in folders.items()
  }
  (folders["width8"] / files.RESULT).unlink()
  assert _run(STUDY, "tiny", tmp_path) == 0
  assert "2 cells\n" in capsys.readouterr().out
  for name, before in trained.items():
    path = folders[name] / files.RESULT
    assert (path.stat().st_mtime_ns == before) == (name == "width4")
  assert _run(STUDY, "tiny", tmp_path) == 0
  assert "2 cells, 2 of them over" in capsys.readouterr().out
  again = table_lib.read_csv(tmp_path / "results.csv")
  columns = results.columns.drop("wall_time_seconds")
  assert again[columns].equals(results[columns])

  # A grid that has changed is not taken for the one that was trained.
  with pytest.raises(files.RunError, match=r"sweep\.rho=\[0\.0, 0\.1\], not"):
    _run(STUDY, "other", tmp_path)


def test_parts_are_judged_together(tmp_path, capsys):
  narrow, wide = cells = STUDY.cells("tiny")
  work.run(STUDY, [wide], tmp_path, among=cells)
  work.run(STUDY, [narrow], tmp_path, among=cells)
  assert "with 1 more cells that are over here" in capsys.readouterr().out
  results = table_lib.read_csv(tmp_path / "results.csv")
  assert list(results["width"].unique()) == [4, 8]
  found = json.loads((tmp_path / "claim.json").read_text())["found"]
  assert found == verdicts.correct(_claims(results))

  # A cell of another grid is not one of them.
  others = STUDY.cells("other")
  work.run(STUDY, [narrow], tmp_path, among=[narrow, others[1]])
  results = table_lib.read_csv(tmp_path / "results.csv")
  assert list(results["width"].unique()) == [4]


class Diverging:
  def cells(self):
    (cell,) = Trained(0.1).cells()[:1]
    cell.config.learning_rate = 1e30
    return [dataclasses.replace(cell, name="d", labels={"workload": "steep"})]


def test_all_runs_of_a_workload_diverge(tmp_path, capsys):
  """There are no weights to measure, and no claims to judge: of it alone."""
  presets = {"steep": (Diverging(),), "both": (Trained(), Diverging())}
  made = dataclasses.replace(STUDY, presets=presets)
  assert _run(made, "steep", tmp_path) == 0
  out = capsys.readouterr().out
  assert "4 diverged" in out
  assert "- steep: every run diverged" in out
  assert not (tmp_path / "figure.png").exists()
  assert json.loads((tmp_path / "claim.json").read_text())["found"] == []

  assert _run(made, "both", tmp_path) == 0
  results = table_lib.read_csv(tmp_path / "results.csv")
  assert (results["workload"] == "steep").sum() == 4
  (found,) = json.loads((tmp_path / "claim.json").read_text())["found"]
  mine = _claims(results[results["workload"] != "steep"])
  assert found == verdicts.correct(mine)[0]


@dataclasses.dataclass
class Computed:
  bias: float

  def cells(self):
    return [
      ComputedCell(
        f"width{width}",
        {"width": width, "bias": self.bias},
        num_runs=2,
        labels={
          "half": width / 2,
          "workload": workload,
          "shape": f"w{width}",
        },
      )
      for width, workload in ((4, "narrow"), (8, "wide"))
    ]


def _computed_claims(results):
  slope = statistics.slope(results, "width", "gain")
  return [verdicts.claim_record("it grows", "gain", "-", slope, above=0)]


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

  made = Study(
    paper="Figure 0",
    claim="wider is better",
    presets={"tiny": (Computed(0.5),), "other": (Computed(1.0),)},
    claims=_computed_claims,
    figure=lambda results: figures.create(1)[0],
    compute=compute,
    compute_seconds=1.0,
  )
  assert _run(made, "tiny", tmp_path) == 0
  out = capsys.readouterr().out
  assert "4 runs in 2 cells\nestimated time: 00:04\n" in out
  results = pd.read_csv(tmp_path / "results.csv")
  columns = ["seed", "width", "gain", "half", "workload", "shape"]
  assert list(results.columns) == columns
  assert results["half"].tolist() == [2, 2, 4, 4]
  found = json.loads((tmp_path / "claim.json").read_text())["found"]
  assert found[0]["value"] == 0.5 * (8 - 4)
  assert (tmp_path / "figure.png").exists()

  (tmp_path / "cells" / "width8" / work.COMPUTED).unlink()
  assert _run(made, "tiny", tmp_path) == 0
  assert called == ["width4", "width8", "width8"]
  with pytest.raises(files.RunError, match=r"bias=0\.5, not 1\.0"):
    _run(made, "other", tmp_path)

  folder = tmp_path / "part"
  folder.mkdir()
  _, wide = made.cells("tiny")
  assert work.run(made, [wide], folder, estimate_only=True) == 0
  assert "2 runs in 1 cells" in capsys.readouterr().out


def test_part_of_a_study(capsys):
  cells_ = Computed(0.5).cells()
  assert study.choose(cells_, "workload", None) == []
  assert study.choose(cells_, "workload", ["wide"]) == ["wide"]
  both = study.choose(cells_, "workload", ["wide", "narrow", "wide"])
  assert both == ["narrow", "wide"]
  unnamed = [ComputedCell("a", {}, num_runs=1)]
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


def test_list_of_the_studies():
  """Each has its claim and its minutes."""
  _, *lines = study._described()
  assert len(lines) == len(study._names().split(", "))
  for line in lines:
    assert re.match(r"\w+ +\d+:\d\d  \S.{20}", line), line


def test_a_study_of_ones_own(tmp_path, capsys):
  """It may import its neighbours, and is told of its errors in one line."""
  (tmp_path / "my_claim.py").write_text("CLAIM = 'mine'\n")
  path = tmp_path / "my_study.py"
  path.write_text(
    "import dataclasses\nimport my_claim\nfrom tests import test_study\n"
    "STUDY = dataclasses.replace(test_study.STUDY, claim=my_claim.CLAIM)\n"
  )
  assert study.load(str(path)).claim == "mine"
  path.write_text("\nx = 1 / 0\n")
  with pytest.raises(SystemExit):
    study.load(str(path))
  assert capsys.readouterr().err == (
    f"error: --study={str(path)!r}: {path}, line 2: ZeroDivisionError: division"
    " by zero\n"
  )


@pytest.mark.parametrize(
  "path", [None, "nowhere.py", "studies/claims.py", "x" * 300]
)
def test_what_is_no_study(path, capsys):
  with pytest.raises(SystemExit) as stop:
    study.load(path)
  assert stop.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"error: --study={path!r}: "[:200])
