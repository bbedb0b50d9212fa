"""Small folders of every kind, and the commands that read them back.

Programs are copies of this process (`trials.fork`), in which two studies are
made small.
"""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import numpy as np

from analysis import figures
from analysis import restored
from run_folder import files
from studies import benign_overfitting
from studies import perturbation_size
from studies.kit import grids
from studies.kit.study import ComputedCell
from studies.kit.study import Measure
from studies.kit.study import TrainedCell
from studies.kit.work import COMPUTED
from tests.campaign import trials

_SHORT = (
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(4,)",
  "--config.num_epochs=4",  # 36 steps.
  "--config.eval_every_epochs=2",
  "--config.log_every_steps=9",
)
_LONG = (
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(8,)",
  "--config.augment",
  "--config.num_epochs=16",  # 144 steps.
  "--config.steps_per_call=1",
  "--config.eval_every_epochs=4",
  "--config.snapshot_every_epochs=16",
  "--config.log_every_steps=7",
  "--config.checkpoint_every_steps=8",
)
_RHOS = "--config.sweep.rho=(0,0.1)"
TRAIN = {
  "run": (*_SHORT, "--config.snapshot_every_epochs=2"),
  "pruned": (*_SHORT, "--config.pruner=magnitude", "--config.sparsity=0.5"),
  "sweep": (*_SHORT, "--config.sweep.seed=(0,1)", _RHOS),
  "long": _LONG,
  "long_sweep": (*_LONG, _RHOS),
}
STUDIES = {
  "study": "studies/perturbation_size.py",
  "computed": "studies/benign_overfitting.py",
}
# What nothing reads back but people, and TensorBoard.
UNREAD = (".png", ".pdf", ".log", ".csv", ".v2")
KINDS = ("run", "pruned", "sweep", *STUDIES)


@dataclasses.dataclass(frozen=True)
class _Trained:
  def cells(self) -> list[TrainedCell]:
    config = grids.create_config(
      "mlp_digits",
      {"rho": (0.0, 0.1), "seed": (0, 1)},
      {
        "num_neurons": (4,),
        "num_epochs": 2,
        "snapshot_every_epochs": 1,
        "data_seed": -1,
      },
    )
    return [TrainedCell("width4", config, {"workload": "mlp_digits"})]


@dataclasses.dataclass(frozen=True)
class _Computed:
  def cells(self) -> list[ComputedCell]:
    return [ComputedCell("cell", {"width": 4}, num_runs=2)]


def _measure(run: restored.Run) -> dict[str, Any]:
  objectives = [of.objective() for of in run.snapshots()]
  return {"losses": [float(o.value(o.weights)) for o in objectives]}


def _compute(cell: ComputedCell) -> list[dict[str, Any]]:
  return [{"seed": seed, **cell.settings} for seed in range(cell.num_runs)]


def use_small_studies() -> None:
  """Changes two studies of this process and its copies, which compile once."""
  small: dict[str, Any] = {
    "claims": lambda results: [],
    "figure": lambda results: figures.create(1)[0],
  }
  perturbation_size.STUDY = dataclasses.replace(
    perturbation_size.STUDY,
    presets={"laptop": (_Trained(),)},
    measure=Measure(_measure, ("losses",)),
    **small,
  )
  benign_overfitting.STUDY = dataclasses.replace(
    benign_overfitting.STUDY,
    presets={"laptop": (_Computed(),)},
    compute=_compute,
    **small,
  )


def start(kind: str, folder: pathlib.Path) -> trials.Fork:
  """Begins to make a folder, or to resume it."""
  if kind in STUDIES:
    study = f"--study={STUDIES[kind]}"
    return trials.Fork("study.py", study, f"--workdir={folder}")
  return trials.Fork("main.py", *TRAIN[kind], f"--workdir={folder}")


def train(kind: str, folder: pathlib.Path) -> trials.Outcome:
  """Makes a folder, or resumes it."""
  return start(kind, folder).end()


def readers(kind: str, folder: pathlib.Path) -> dict[str, tuple[str, ...]]:
  """Returns the commands that read a folder of a run, by name."""
  if kind in STUDIES:
    return {}
  which = "latest" if kind == "sweep" else "best"
  workdir = f"--workdir={folder}"
  return {
    "eval": ("main.py", "--mode=eval", f"--checkpoint={which}", workdir),
    "report": ("report.py", str(folder), f"--out={folder}/report"),
    "sharpness": ("sharpness_report.py", "--measures=loss", workdir),
    "init_from": (
      "main.py",
      *TRAIN["run"],
      "--config.num_epochs=1",
      "--config.seed=5",
      f"--config.init_from={folder}",
      f"--workdir={folder}/started",
    ),
  }


def make_all(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns a whole folder of every kind; those of runs were measured."""
  use_small_studies()
  made = {}
  for kind in KINDS:
    made[kind] = folder / kind
    outcome = train(kind, made[kind])
    assert (outcome.code, outcome.err) == (0, ""), outcome
    for name, (script, *args) in readers(kind, made[kind]).items():
      if name in ("sharpness", "eval"):
        outcome = trials.fork(script, *args)
        assert (outcome.code, outcome.err) == (0, ""), outcome
  return made


def copy(made: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
  """Returns a fresh copy of a folder."""
  shutil.rmtree(target, ignore_errors=True)
  return shutil.copytree(made, target)


def unfinish(folder: pathlib.Path) -> None:
  """Takes the result and the newest checkpoint of a run away."""
  (folder / files.RESULT).unlink()
  steps = [p for p in (folder / "checkpoints").iterdir() if p.name.isdigit()]
  shutil.rmtree(max(steps, key=lambda p: int(p.name)))


def difference(folder: pathlib.Path, whole: pathlib.Path) -> str:
  """Returns in what the outcome of a folder is not that of another; '': same.

  All but times is the same, bit for bit.
  """
  for path in sorted(whole.rglob("*")):
    name = path.relative_to(whole)
    if not (folder / name).exists():
      if path.suffix in (".json", ".jsonl", ".npz", ".csv"):
        return f"{name} is missing"
      continue
    if path.suffix == ".jsonl" and path.read_bytes() != (
      (folder / name).read_bytes()
    ):
      return f"{name} differs"
    if path.name in (files.RESULT, COMPUTED):
      mine, theirs = (
        json.loads((f / name).read_text()) for f in (folder, whole)
      )
      for record in (mine, theirs):
        for key in ("wall_time_seconds", "commit"):
          record.pop(key, None)
      if mine != theirs:
        return f"{name} differs"
    if path.suffix == ".npz":
      arrays = [np.load(f / name) for f in (folder, whole)]
      if any(
        arrays[0][key].tobytes() != arrays[1][key].tobytes()
        for key in arrays[1].files
      ):
        return f"{name} differs"
  return ""
