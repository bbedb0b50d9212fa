"""Saves, restores and resumes runs (Orbax).

A checkpoint has the items 'weights' (params and model_state: all that
evaluating or starting another run needs), 'training' (step, opt_state and the
metrics since the last logged line) and, if weights are pruned, 'mask'.
"""

import pathlib
from typing import Any

from absl import logging
import jax
import orbax.checkpoint as ocp

from configs import base

PyTree = Any
Items = dict[str, PyTree]
ITEM_NAMES = ("weights", "training", "mask")


class CheckpointError(base.UserError):
  """No checkpoint can be read."""


class Checkpoints:
  """The checkpoints of a run folder: the two newest and the best."""

  def __init__(self, workdir: str | pathlib.Path):
    self._manager = _manager(workdir, cleanup_tmp_directories=True)

  def save(self, step: int, items: Items, score: float | None) -> None:
    """Saves in the background; a checkpoint is there whole or not at all.

    Args:
      step: training steps taken.
      items: trees of arrays.
      score: larger for better weights; None if they were not evaluated.
    """
    if step in self._manager.all_steps():
      return
    args = {k: ocp.args.StandardSave(v) for k, v in items.items()}
    self._manager.save(
      step,
      args=ocp.args.Composite(**args),
      metrics=None if score is None else {"score": score},
    )

  def restore_newest(self, like: Items) -> tuple[int, Items] | None:
    """Returns (step, items) of the newest readable checkpoint, if any.

    Damaged ones are deleted with a warning.

    Args:
      like: items with the shapes, dtypes and shardings to restore.
    """
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        return step, _restore(self._manager, step, like)
      except Exception as e:  # Orbax raises many kinds for damaged files.
        logging.warning(
          "checkpoint %d is damaged and is deleted (%s)", step, _first_line(e)
        )
        self._manager.delete(step)
    return None

  def close(self) -> None:
    """Waits until everything is saved."""
    self._manager.wait_until_finished()
    self._manager.close()


def restore_weights(
  workdir: str | pathlib.Path, which: str, weights: PyTree
) -> tuple[int, PyTree]:
  """Returns (step, weights) of a run folder's checkpoint.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' or a step.
    weights: tree of arrays with the shapes, dtypes and shardings to restore.

  Raises:
    CheckpointError: there is no such checkpoint, or it does not fit.
  """
  if not _directory(workdir).is_dir():
    raise CheckpointError(f"{workdir}: has no checkpoints")
  with _manager(workdir, read_only=True) as manager:
    step = _find(manager, which)
    try:
      items = _restore(manager, step, {"weights": weights})
    except Exception as e:  # Orbax raises many kinds for wrong shapes.
      raise CheckpointError(
        f"{workdir}: the weights of step {step} do not fit this model"
        f" ({_first_line(e)})"
      ) from e
  return step, items["weights"]


def _find(manager: ocp.CheckpointManager, which: str) -> int:
  steps = manager.all_steps()
  if which == "latest":
    step = manager.latest_step()
  elif which == "best":
    step = manager.best_step()
  else:
    step = int(which) if which.isdigit() else None
  if step is None or step not in steps:
    raise CheckpointError(
      f"{manager.directory}: no checkpoint {which!r}; there are {sorted(steps)}"
    )
  return step


def _manager(
  workdir: str | pathlib.Path, **options: bool
) -> ocp.CheckpointManager:
  def score(metrics: dict[str, float]) -> float:
    return metrics["score"]

  policies = ocp.checkpoint_managers
  kept = policies.AnyPreservationPolicy(
    [
      # The second newest is there in case the newest is damaged.
      policies.LatestN(2),
      policies.BestN(
        get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False
      ),
    ]
  )
  return ocp.CheckpointManager(
    _directory(workdir),
    item_names=ITEM_NAMES,
    options=ocp.CheckpointManagerOptions(
      preservation_policy=kept, best_fn=score, **options
    ),
  )


def _directory(workdir: str | pathlib.Path) -> pathlib.Path:
  return pathlib.Path(workdir).absolute() / "checkpoints"


def _restore(manager: ocp.CheckpointManager, step: int, like: Items) -> Items:
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
  args = {k: ocp.args.StandardRestore(v) for k, v in abstract.items()}
  restored = manager.restore(step, args=ocp.args.Composite(**args))
  return {name: restored[name] for name in like}


def _first_line(error: Exception) -> str:
  return f"{type(error).__name__}: {error}".splitlines()[0][:200]
