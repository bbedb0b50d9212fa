"""Saves, restores and resumes runs (Orbax).

A checkpoint has the items 'weights' (params and model_state: all that
evaluating or starting another run needs), 'training' (step, opt_state and the
metrics since the last logged line) and, if weights are pruned, 'mask'. Its
file SHA256SUMS comes last and lists the others: Orbax returns wrong numbers
for most changed bytes without a word. `sha256sum -c SHA256SUMS` checks it too.
"""

from collections.abc import Callable
import concurrent.futures
import functools
import math
import pathlib
import re
import shutil
import sys
from typing import Any

import jax
import orbax.checkpoint as ocp

from configs import errors
from run_folder import disk
from run_folder import naming
from run_folder import quiet_orbax
from run_folder import sums

PyTree = Any
Items = dict[str, PyTree]
ITEM_NAMES = ("weights", "training", "mask")
_DAMAGED = ".damaged"
# How often a checkpoint is looked for that another process has just replaced.
_ATTEMPTS = 10


class CheckpointError(errors.UserError):
  """A checkpoint that cannot be read or written."""


class Checkpoints:
  """The checkpoints of a run folder: the two newest and the best.

  A thread saves them, one at a time, while training goes on.
  """

  def __init__(self, workdir: str | pathlib.Path):
    """Opens the folder.

    What a killed process had not saved whole is removed; a damaged checkpoint
    is renamed, with a warning, in the place of the one before.

    Raises:
      CheckpointError: the folder cannot be used.
    """
    self._directory = _directory(workdir)
    try:
      disk.refuse_links(self._directory.parent, [self._directory.name])
      self._directory.mkdir(parents=True, exist_ok=True)
      for step in _steps(self._directory):
        path = self._directory / str(step)
        if not (path / sums.SUMS).exists():
          shutil.rmtree(path)
        elif damage := sums.damage(path):
          _set_aside(path, damage)
      self._manager = _manager(self._directory, cleanup_tmp_directories=True)
    except OSError as e:
      raise CheckpointError(
        f"{self._directory}: cannot be used ({disk.reason(e)})"
      ) from e
    self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    self._saving: concurrent.futures.Future[None] | None = None

  def save(
    self,
    step: int,
    items: Items,
    score: float | None,
    num_lines: int | None = None,
  ) -> None:
    """Saves in the background; a checkpoint is there whole or not at all.

    Args:
      step: training steps taken.
      items: trees of NumPy arrays that do not change any more.
      score: larger for better weights; None if they were not evaluated.
      num_lines: lines of metrics.jsonl so far, without which it is not resumed.

    Raises:
      CheckpointError: the checkpoint before could not be saved.
    """
    self.wait()
    if step in self._manager.all_steps():
      return
    # The step is in the name, too, which a person can change.
    facts = {"score": score, "step": step, "num_lines": num_lines}
    self._saving = self._thread.submit(self._write, step, items, facts)

  def _write(self, step: int, items: Items, facts: dict[str, Any]) -> None:
    args = {k: ocp.args.StandardSave(v) for k, v in items.items()}
    self._manager.save(step, args=ocp.args.Composite(**args), metrics=facts)
    sums.write(self._directory / str(step))

  def restore_newest(
    self, like: Items, num_lines: Callable[[int], int] = lambda step: 0
  ) -> tuple[int, Items] | None:
    """Returns (step, items) of the newest checkpoint, if there is one.

    Those that do not fit their name, or the lines of metrics.jsonl, are set
    aside, with a warning, for one before them that does.

    Args:
      like: items with the shapes, dtypes and shardings to restore.
      num_lines: step -> lines of metrics.jsonl up to it.

    Raises:
      CheckpointError: the checkpoint has other items, as of another program; or
        there is none whose lines are all there.
    """
    misfits = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      misfit = self._misfit(step, num_lines(step))
      if misfit is None:
        break
      misfits[step] = misfit
    else:
      if not misfits:
        return None
      raise CheckpointError(
        f"{self._directory}: no checkpoint can be resumed ({misfit}); give back"
        " what is missing, or another --workdir"
      )
    try:
      items = _restore(self._manager, step, like)
    except Exception as e:  # Orbax raises many kinds for wrong shapes.
      raise CheckpointError(
        f"{self._directory}: checkpoint {step} does not fit this program"
        f" ({disk.reason(e)})"
      ) from e
    for other, misfit in sorted(misfits.items()):  # The newest one stays.
      _set_aside(self._directory / str(other), misfit)
    self._manager.reload()
    return step, items

  def _misfit(self, step: int, num_lines: int) -> str | None:
    """Returns why a whole checkpoint cannot be resumed, or None."""
    try:
      facts = _facts(self._manager, step)
    except CheckpointError as e:
      return str(e)
    if facts["step"] != step:
      return f"it is that of step {facts['step']}"
    wanted = facts["num_lines"]
    if wanted is not None and wanted != num_lines:
      return f"metrics.jsonl has {num_lines} of the {wanted} lines up to it"
    return None

  def wait(self) -> None:
    """Waits until everything is saved.

    Raises:
      CheckpointError: it could not be saved.
    """
    saving, self._saving = self._saving, None
    if saving is None:
      return
    try:
      saving.result()
    except Exception as e:  # Orbax raises many kinds, for a full disk too.
      raise CheckpointError(
        f"{self._directory}: cannot save ({disk.reason(e)})"
      ) from e

  def close(self) -> None:
    """Waits until everything is saved; nothing can be saved afterwards."""
    try:
      self.wait()
    finally:
      self._thread.shutdown()
      self._manager.close()


def has_whole(workdir: str | pathlib.Path) -> bool:
  """Whether a run folder has a checkpoint that is not damaged."""
  directory = _directory(workdir)
  return any(not sums.damage(directory / str(s)) for s in _steps(directory))


def restore(
  workdir: str | pathlib.Path, which: str, like: Items | None = None
) -> tuple[int, Items]:
  """Returns (step, items) of a run folder's checkpoint.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' or a step.
    like: the items to restore, with their shapes, dtypes and shardings; None:
      the weights, whatever they are, on one device.

  Raises:
    CheckpointError: there is no such checkpoint, or it is damaged, or it does
      not fit.
  """
  directory = _directory(workdir)
  for _ in range(_ATTEMPTS):
    steps = _finished_steps(directory)
    try:
      return _read(workdir, steps, which, like)
    except Exception as e:  # Orbax raises many kinds for files that are gone.
      error = e
      # A run that goes on replaces its checkpoints, perhaps just now.
      if _finished_steps(directory) == steps:
        break
  if isinstance(error, errors.UserError):
    raise error
  raise CheckpointError(
    f"{directory}: cannot be read ({disk.reason(error)})"
  ) from error


def _finished_steps(directory: pathlib.Path) -> list[int]:
  """Returns the steps that were saved to the end."""
  # One without sums is being saved, perhaps.
  return [
    s for s in _steps(directory) if (directory / str(s) / sums.SUMS).exists()
  ]


def _read(
  workdir: str | pathlib.Path, steps: list[int], which: str, like: Items | None
) -> tuple[int, Items]:
  directory = _directory(workdir)
  if not steps:
    raise CheckpointError(f"{workdir}: must be a run folder with a checkpoint")
  with _manager(
    directory, read_only=True, lightweight_initialize=True
  ) as manager:
    step = _find(manager, steps, which)
    _check_whole(directory, step)
    if (saved := _facts(manager, step)["step"]) != step:
      raise CheckpointError(
        f"{directory}: checkpoint {step} is that of step {saved}"
      )
    if like is None:
      place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
      shape = functools.partial(jax.ShapeDtypeStruct, sharding=place)
      tree = _metadata(directory / str(step) / "weights")
      like = {"weights": jax.tree.map(lambda x: shape(x.shape, x.dtype), tree)}
    for name, tree in like.items():
      misfit = _misfit(directory / str(step) / name, tree)
      if misfit:
        raise CheckpointError(
          f"{workdir}: the {name} of step {step} do not fit this model"
          f" ({misfit})"
        )
    return step, _restore(manager, step, like)


def _misfit(path: pathlib.Path, tree: PyTree) -> str | None:
  """Returns how the saved tree differs from this one in shape, or None."""
  saved, wanted = _shapes(_metadata(path)), _shapes(tree)
  for name in sorted(saved.keys() | wanted.keys()):
    found, expected = saved.get(name, "missing"), wanted.get(name, "absent")
    if found != expected:
      return f"{name} is {found}, not {expected}"
  return None


def _metadata(path: pathlib.Path) -> PyTree:
  """Returns shapes and dtypes of a saved item."""
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.metadata(path).item_metadata.tree


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): tuple(x.shape)
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def _find(manager: ocp.CheckpointManager, steps: list[int], which: str) -> int:
  if which == "latest":
    return steps[-1]
  if which == "best":
    for step in steps:
      _check_whole(pathlib.Path(manager.directory), step)
    scores = {s: _score(_facts(manager, s)) for s in steps}
    step = max(reversed(steps), key=lambda s: scores[s])
    found = scores[step] > -math.inf
  else:
    # Python itself takes no more than 4,300 digits.
    step = int(which) if re.fullmatch(r"\d{1,18}", which) else -1
    found = step in steps
  if not found:
    raise CheckpointError(
      f"{manager.directory}: no checkpoint {which!r}; there are {steps}"
    )
  return step


def _score(metrics: dict[str, float | None]) -> float:
  """Returns a checkpoint's score; any evaluated one is better than others."""
  score = metrics.get("score") if isinstance(metrics, dict) else None
  return score if isinstance(score, (int, float)) else -math.inf


def _facts(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
  """Returns what `Checkpoints.save` noted of a checkpoint.

  Its step is that at which it was saved, whatever its name is. Those of version
  0.1 do not state it.

  Raises:
    CheckpointError: the file holds something else.
  """
  try:
    found = manager.metrics(step)
  except Exception as e:  # Whatever Orbax raises for other files.
    found = disk.reason(e)
  kinds: dict[str, Any] = {"score": (int, float), "step": int, "num_lines": int}
  if isinstance(found, dict) and "score" in found:
    facts = {"step": step, "num_lines": None} | found
    if all(
      facts[name] is None or isinstance(facts[name], kind)
      for name, kind in kinds.items()
    ):
      return facts
  raise CheckpointError(
    f"{manager.directory}: checkpoint {step} is damaged (metrics holds"
    f" {found!r:.60})"
  )


def _manager(directory: pathlib.Path, **options: bool) -> ocp.CheckpointManager:
  quiet_orbax.set_up()
  policies = ocp.checkpoint_managers
  kept = policies.AnyPreservationPolicy(
    [
      # The second newest is there in case the newest is damaged.
      policies.LatestN(2),
      policies.BestN(get_metric_fn=_score, n=1),
    ]
  )
  return ocp.CheckpointManager(
    directory,
    item_names=ITEM_NAMES,
    options=ocp.CheckpointManagerOptions(
      preservation_policy=kept,
      best_fn=_score,
      # Orbax's own way blocks training for 10 to 100 ms a checkpoint.
      enable_async_checkpointing=False,
      # Of several processes that train, the first has the folder.
      multiprocessing_options=ocp.options.MultiprocessingOptions(
        active_processes={0}
      ),
      create=False,
      **options,
    ),
  )


def _directory(workdir: str | pathlib.Path) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints"


def _steps(directory: pathlib.Path) -> list[int]:
  """Returns the steps that were saved, in order."""
  if not directory.is_dir():
    return []
  return sorted(
    int(p.name)
    for p in directory.iterdir()
    if naming.is_step(p.name) and p.is_dir()
  )


def _restore(manager: ocp.CheckpointManager, step: int, like: Items) -> Items:
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
  args = {k: ocp.args.StandardRestore(v) for k, v in abstract.items()}
  restored = manager.restore(step, args=ocp.args.Composite(**args))
  return {name: restored[name] for name in like}


def _check_whole(directory: pathlib.Path, step: int) -> None:
  damage = sums.damage(directory / str(step))
  if damage:
    raise CheckpointError(
      f"{directory}: checkpoint {step} is damaged ({damage})"
    )


def _set_aside(path: pathlib.Path, damage: str) -> None:
  for before in path.parent.glob(f"*{_DAMAGED}"):
    if before.is_dir() and not before.is_symlink():
      shutil.rmtree(before)
    else:
      before.unlink()
  aside = path.with_name(f"{path.name}{_DAMAGED}")
  path.rename(aside)
  print(
    f"warning: checkpoint {path.name} is damaged ({damage}) and is renamed to"
    f" {aside.name}",
    file=sys.stderr,
  )
