"""The files a run leaves, beside its checkpoints and TensorBoard events.

config.json: the resolved config. metrics.jsonl: one line per logged step.
result.json: the outcome, written once at the end.
"""

from collections.abc import Mapping
import contextlib
from contextlib import AbstractContextManager
import fcntl
import importlib.metadata
import json
import math
import os
import pathlib
import subprocess
from typing import IO, Any

import ml_collections

from configs import base
from configs import fields
from configs import reading
from configs import sweep
from run_folder import changes
from run_folder import disk
from run_folder import naming
from run_folder import records
from run_folder.disk import Record as Record
from run_folder.disk import RunError as RunError

CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
# The folders that are written to beside those of the runs of a sweep.
FOLDERS = ("checkpoints", "snapshots", "plugins")

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def identity(config: ml_collections.ConfigDict) -> Record:
  """Returns the fields that determine the trajectory of a run, or a sweep."""
  read = reading.all_read(config)
  return {
    name: list(config[name]) if field.kind is tuple else config[name]
    for name, field in fields.FIELDS.items()
    if not field.cadence
    and name in read
    and name != "devices_per_run"  # The number of devices is compared.
  }


def to_json(config: ml_collections.ConfigDict) -> Record:
  """Returns the fields of a config, and 'sweep' if it is one."""
  record = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in config.items()
    if name != "sweep"
  }
  lists = {name: list(values) for name, values in sweep.swept(config).items()}
  return record | {"sweep": lists} if lists else record


def load_config(workdir: str) -> ml_collections.ConfigDict:
  """Returns the config of a run folder.

  A field that it lacks, since it is newer than the folder, has its default.

  Raises:
    RunError: it is not a run folder, or has a field that there is no more.
  """
  try:
    config = _read_config(pathlib.Path(workdir))
    base.check(config)
    return config
  except disk.WRONG_SHAPE as e:
    raise RunError(f"{workdir}: not a run folder ({CONFIG}: {e})") from e


def _read_config(path: pathlib.Path) -> ml_collections.ConfigDict:
  values = disk.read_object(path / CONFIG)["config"]
  config = base.get_config()
  for name in values.keys() - config.keys():
    raise RunError(
      f"{path}: {CONFIG} has a field {name!r}, which this version does not"
      f" know; use the version that wrote it (its commit is in {RESULT}), or"
      " train anew in another --workdir"
    )
  config.update(_tuples(values))
  return config


def _tuples(values: Record) -> Record:
  """Returns what JSON made lists as tuples again."""
  return {
    k: tuple(v)
    if isinstance(v, list)
    else _tuples(v)
    if isinstance(v, dict)
    else v
    for k, v in values.items()
  }


def finite(value: Any) -> Any:
  """Returns a JSON value with None for the numbers that JSON does not have."""
  if isinstance(value, Mapping):
    return {key: finite(item) for key, item in value.items()}
  if isinstance(value, list):
    return [finite(item) for item in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def num_devices(workdir: str | pathlib.Path) -> int:
  """Returns over how many devices a batch of a run folder is spread."""
  with _usable(workdir):
    return _num_devices(pathlib.Path(workdir))


def _num_devices(path: pathlib.Path) -> int:
  number = disk.read_object(path / CONFIG)["identity"]["num_devices"]
  if type(number) is not int:
    raise TypeError(f"{CONFIG}: num_devices={number!r}: must be an integer")
  return number


class RunFolder:
  """The folder of one run, held by one process at a time.

  Attributes:
    num_lines: of metrics.jsonl, since `keep_lines_up_to`.
  """

  def __init__(
    self,
    workdir: str,
    config: ml_collections.ConfigDict,
    num_devices: int,
    facts: Record | None = None,
  ):
    """Opens the folder and writes config.json, or checks that it fits.

    Args:
      workdir: the folder; created if missing.
      config: the resolved config.
      num_devices: belongs to the identity of a run, since BatchNorm and SAM's
        perturbation are per device.
      facts: what else config.json states; see `read_facts`.

    Raises:
      RunError: the folder belongs to another run, is in use, or cannot be
        written.
    """
    self.path = pathlib.Path(workdir)
    facts = facts or {}
    self._names = naming.run_names(config)
    with contextlib.ExitStack() as on_error, _usable(workdir):
      self.path.mkdir(parents=True, exist_ok=True)
      disk.refuse_links(self.path, (*FOLDERS, *filter(None, self._names)))
      self._lock = on_error.enter_context(_lock(self.path))
      mine, is_longer = _check_identity(self.path, config, num_devices)
      if is_longer:  # First, since a process may be killed here.
        (self.path / RESULT).unlink(missing_ok=True)
      disk.write_json(
        self.path / CONFIG,
        {"config": to_json(config), "identity": mine} | facts,
      )
      self._metrics = disk.Lines(self.path / METRICS)
      self.num_lines = 0
      on_error.pop_all()

  def lines(self, last_step: int | None = None) -> list[Record]:
    """Returns the whole lines of metrics.jsonl, of steps up to the last one."""
    return [
      line
      for line in read_lines(self.path)
      if line.get("run", "") in self._names
      and (last_step is None or line["step"] <= last_step)
    ]

  def keep_lines_up_to(self, step: int) -> None:
    """Drops the lines of steps that will be trained again."""
    kept = self.lines(step)
    self.num_lines = len(kept)
    self._metrics.close()
    path = self.path / METRICS
    with _usable(self.path):
      disk.write(path, "".join(json.dumps(line) + "\n" for line in kept))
      self._metrics = disk.Lines(path)

  def append(self, line: Record) -> None:
    """Adds a line to metrics.jsonl; it is on its way to disk on return.

    Raises:
      RunError: there is no space left, or the like; half a line at the end is
        dropped when the run is resumed.
    """
    with _usable(self.path):
      self._metrics.add(line)
    self.num_lines += 1

  def sync(self) -> None:
    """Waits until the lines are on disk, so that no checkpoint is ahead."""
    with _usable(self.path):
      self._metrics.sync()

  def finish(self, record: Record) -> None:
    """Writes result.json."""
    with _usable(self.path):
      disk.write_json(self.path / RESULT, record)

  def close(self) -> None:
    self._metrics.close()
    self._lock.close()


def _lock(path: pathlib.Path) -> IO[str]:
  lock = os.fdopen(disk.open_end(path / ".lock"), "a")
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as e:
    lock.close()
    raise RunError(f"workdir {path}: in use by another process") from e
  return lock


def _usable(workdir: str | os.PathLike[str]) -> AbstractContextManager[None]:
  return disk.usable(f"workdir {workdir}")


def _check_identity(
  path: pathlib.Path, config: ml_collections.ConfigDict, num_devices: int
) -> tuple[Record, bool]:
  """Returns the identity of a run, and whether it is longer than its folder."""
  mine = identity(config) | {changes.DEVICES: num_devices}
  if not (path / CONFIG).exists():
    return mine, False
  # Not what was written as the identity then, when there were other fields.
  theirs = identity(_read_config(path)) | {changes.DEVICES: _num_devices(path)}
  same = changes.allowed(theirs, mine)
  check_same(path, theirs | {name: mine[name] for name in same}, mine)
  return mine, bool(same & {*changes.LENGTHS})


def read_facts(workdir: str | os.PathLike[str]) -> Record:
  """Returns what config.json states beside config and identity."""
  path = pathlib.Path(workdir, CONFIG)
  with _usable(workdir):
    found = disk.read_object(path) if path.exists() else {}
  return {k: v for k, v in found.items() if k not in ("config", "identity")}


def read_result(
  workdir: str, config: ml_collections.ConfigDict, num_devices: int
) -> Record | None:
  """Returns what result.json says, or None while the run is not over.

  Raises:
    RunError: the folder belongs to another run, or cannot be read.
  """
  path = pathlib.Path(workdir)
  with _usable(workdir):
    _, is_longer = _check_identity(path, config, num_devices)
    if is_longer or not (path / RESULT).exists():
      return None
    found = disk.read_object(path / RESULT)
    result = records.checked(found, naming.run_names(config))
    records.check_outcome(result)
    return result


def read_runs(workdir: str | pathlib.Path) -> list[Record]:
  """Returns the record of every run of a finished folder.

  Returns:
    Records as in result.json, each with 'run', its name in the folder ('' if
    it is alone there), and 'config', its own values.

  Raises:
    RunError: the folder holds no run, or none that is over.
  """
  config = load_config(str(workdir))
  path = pathlib.Path(workdir)
  values = to_json(config)
  values.pop("sweep", None)
  with _usable(workdir):
    if not (path / RESULT).exists():
      raise RunError(f"{workdir}: its run is not over (no {RESULT})")
    shared = records.checked(
      disk.read_object(path / RESULT), naming.run_names(config)
    )
    runs = shared.pop("runs", [{"run": ""}])
  return [
    shared | run | {"config": values | point}
    for run, point in zip(runs, sweep.points(config), strict=True)
  ]


def check_same(path: str | pathlib.Path, theirs: Record, mine: Record) -> None:
  """Raises `RunError` if the run in the folder `path` is not mine."""
  # What only one of them reads follows from what they both read.
  one_only = theirs.keys() ^ mine.keys()
  names = sorted(theirs.keys() & mine.keys()) + sorted(one_only)
  for name in names:
    old, new = theirs.get(name, "unset"), mine.get(name, "unset")
    if old != new:
      raise RunError(
        f"workdir {path}: holds a run with {name}={old!r}, not {new!r};"
        f" {changes.advice(path, name, theirs, mine)}"
      )


def read_lines(path: str | pathlib.Path, name: str = METRICS) -> list[Record]:
  """Returns the lines of a run folder's metrics.jsonl, or another such file.

  What is no whole line is left out: a process was killed while it wrote, or the
  file was damaged. Whoever needs all lines counts them.

  Raises:
    RunError: the file cannot be read.
  """
  file = pathlib.Path(path, name)
  lines = []
  try:
    texts = file.read_bytes().splitlines() if file.exists() else []
  except OSError as e:
    raise RunError(f"workdir {path}: cannot be used ({e})") from e
  for text in texts:
    try:
      line = disk.parse(text)
    except ValueError:
      continue
    if isinstance(line, dict) and (name != METRICS or records.is_line(line)):
      lines.append(line)
  return lines


def provenance() -> Record:
  """Returns package versions and the git commit of the code."""
  here = pathlib.Path(__file__).parent
  try:
    commit = subprocess.run(
      ["git", "describe", "--always", "--dirty", "--abbrev=40"],
      cwd=here,
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    commit = "unknown"
  versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {"commit": commit, "versions": versions}
