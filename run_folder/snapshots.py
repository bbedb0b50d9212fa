"""Weights along the way: `snapshots/STEP.npz` in the folder of a run.

An array for each leaf of 'params' and 'model_state', named by its path; those
of a sweep have a leading axis of runs. NumPy alone reads them.
"""

import pathlib
from typing import Any
import zipfile
import zlib

import flax
import numpy as np

from run_folder import checkpoints
from run_folder import disk
from run_folder import naming

PyTree = Any
FOLDER = "snapshots"


def save(workdir: str | pathlib.Path, step: int, weights: PyTree) -> None:
  """Writes a file that is either whole or not there.

  Raises:
    CheckpointError: it cannot be written.
  """
  flat: dict[str, Any] = flax.traverse_util.flatten_dict(weights, sep="/")
  path = _path(workdir, step)
  try:
    path.parent.mkdir(exist_ok=True)
    with disk.replacing(path) as file:
      np.savez(file, **flat)
  except OSError as e:
    raise checkpoints.CheckpointError(
      f"{path.parent}: cannot save ({disk.reason(e)})"
    ) from e


def steps(workdir: str | pathlib.Path) -> list[int]:
  """Returns the steps that have a snapshot, in order."""
  names = (p.stem for p in pathlib.Path(workdir, FOLDER).glob("*.npz"))
  return sorted(int(name) for name in names if naming.is_step(name))


def keep_up_to(workdir: str | pathlib.Path, step: int) -> None:
  """Removes the snapshots of steps that will be trained again."""
  for later in steps(workdir):
    if later > step:
      _path(workdir, later).unlink()


def load(workdir: str | pathlib.Path, step: int) -> PyTree:
  """Returns 'params' and 'model_state' after so many steps.

  Raises:
    RunError: the file cannot be read, or is damaged.
  """
  path = _path(workdir, step)
  with disk.usable(path):
    try:
      with np.load(path) as file:
        flat = {tuple(name.split("/")): file[name] for name in file.files}
      weights = flax.traverse_util.unflatten_dict(flat)
    except (zipfile.BadZipFile, zlib.error, EOFError) as e:
      raise ValueError(str(e)) from e
    return {"model_state": {}} | weights


def _path(workdir: str | pathlib.Path, step: int) -> pathlib.Path:
  return pathlib.Path(workdir, FOLDER, f"{step}.npz")
