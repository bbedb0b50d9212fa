"""study.py on a study of small cells, in turn and over workers."""

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

from run_folder import files
from studies.kit import work as work_lib
from tests import entrance

# Cells of four runs. What is measured are bits of the weights.
STUDY = """
import hashlib
import jax
from analysis import figures
from studies.kit import grids
from studies.kit.study import Measure, Study, TrainedCell

class Grid:
  def __init__(self, num_cells, num_epochs):
    self.num_cells, self.num_epochs = num_cells, num_epochs

  def cells(self):
    return [
      TrainedCell(
        f"width{width}",
        grids.create_config(
          "mlp_digits",
          {"rho": (0.0, 0.1), "seed": (0, 1)},
          {
            "num_neurons": (width,),
            "num_epochs": self.num_epochs,
            "data_seed": -1,
            "steps_per_call": 4,
          },
        ),
        {"workload": "mlp_digits", "width": width},
      )
      for width in range(4, 4 + self.num_cells)
    ]

def _measure(run):
  leaves = jax.tree.leaves(run.weights)
  bits = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves))
  return {"last_step": run.step, "bits": int(bits.hexdigest()[:12], 16)}

STUDY = Study(
  paper="Figure 0",
  claim="none",
  presets={
    "laptop": (Grid(3, 1),), "many": (Grid(12, 40),), "long": (Grid(2, 4000),)
  },
  claims=lambda results: [],
  figure=lambda results: figures.create(1)[0],
  measure=Measure(_measure, ("last_step", "bits")),
)
"""


@dataclasses.dataclass
class Program:
  """study.py, in a folder of its own."""

  folder: pathlib.Path

  def start(self, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
      [
        sys.executable,
        str(entrance.ROOT / "study.py"),
        "--study=my_study.py",
        *flags,
      ],
      cwd=self.folder,
      env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )

  def run(self, *flags: str) -> entrance.Outcome:
    return self.end(self.start(*flags))

  def end(self, process: subprocess.Popen) -> entrance.Outcome:
    out, err = process.communicate(timeout=entrance.PATIENCE)
    return entrance.Outcome(process.returncode, out, err)


# When, where and by which state of the repository a study was done.
CIRCUMSTANCES = ("folder", "wall_time_seconds", "commit")


def left(folder: pathlib.Path) -> dict[str, object]:
  """Returns what a study left, without circumstances, logs and checkpoints."""
  with open(folder / "results.csv") as table:
    rows = list(csv.DictReader(table))
  found: dict[str, object] = {
    "claim.json": json.loads((folder / "claim.json").read_text()),
    "results.csv": [_without(row) for row in rows],
  }
  for cell in sorted((folder / "cells").iterdir()):
    for name in (files.METRICS, work_lib.MEASURES):
      found[f"{cell.name}/{name}"] = (cell / name).read_bytes()
    found[cell.name] = [_without(run) for run in files.read_runs(cell)]
  return found


def _without(record: dict[str, object]) -> dict[str, object]:
  return {k: v for k, v in record.items() if k not in CIRCUMSTANCES}


def programs_of_cells(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
  """Returns the process that does each cell in a folder, and its parent."""
  found = {}
  for path in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
      line = (path / "cmdline").read_bytes().decode().split("\0")
      cells = [x for x in line if x.startswith("--cell=")]
      if cells and f"--workdir={folder.resolve()}" in line:
        stat = (path / "stat").read_text().rpartition(")")[2].split()
        found[cells[0].removeprefix("--cell=")] = (int(path.name), int(stat[1]))
  return found


def wait_for_training(process, folder: pathlib.Path, num: int = 1):
  """Returns the cells that train, as soon as there are some."""
  while process.poll() is None:
    training = {
      name: ids
      for name, ids in programs_of_cells(folder).items()
      if (folder / "cells" / name / files.METRICS).exists()
      and (folder / "cells" / name / files.METRICS).stat().st_size
      and not (folder / "cells" / name / files.RESULT).exists()
    }
    if len(training) >= num:
      return training
    time.sleep(0.02)
  raise AssertionError(process.communicate())
