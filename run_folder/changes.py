"""What of a run may change when it is resumed, and what to do where it may not.

Everything else that makes a run this run must stay; see `files.identity`.
"""

from collections.abc import Mapping
from typing import Any

Identity = Mapping[str, Any]
# They say how long a run trains.
LENGTHS = ("num_epochs", "num_train_steps")
DEVICES = "num_devices"
# Schedules of which no step depends on how many there are.
_ENDLESS = ("constant", "inverse_sqrt")


def allowed(theirs: Identity, mine: Identity) -> set[str]:
  """Returns the names of what differs, and may.

  Args:
    theirs: the identity of the run in a folder, and its number of devices.
    mine: that of the run that resumes it.
  """
  names = set()
  length = grown(theirs, mine)
  if length and not depends_on_length(mine):
    names.add(length)
  if theirs.get(DEVICES) != mine.get(DEVICES) and devices_may_change(mine):
    names.add(DEVICES)
  return names


def grown(theirs: Identity, mine: Identity) -> str:
  """Returns by which field a run becomes longer; '': by none."""
  both = [name for name in LENGTHS if name in theirs and name in mine]
  differing = [name for name in both if theirs[name] != mine[name]]
  if len(differing) == 1 and mine[differing[0]] > theirs[differing[0]] > 0:
    return differing[0]
  return ""


def depends_on_length(identity: Identity) -> str:
  """Returns a field by which a step depends on how many there are, or ''."""
  for name, is_endless in (
    # A study that computes has settings without a schedule.
    ("lr_scheduler", identity.get("lr_scheduler", _ENDLESS[0]) in _ENDLESS),
    ("stage_starts", not identity.get("stage_starts")),
    ("sam_begin", identity.get("sam_begin", 0) == 0),
    ("sam_end", identity.get("sam_end", 1) == 1),
  ):
    if not is_endless:
      return name
  return ""


def devices_may_change(identity: Identity) -> bool:
  """Whether all that is averaged over examples is so over microbatches.

  These are the same wherever they are; without them, each device has a
  perturbation and BatchNorm statistics of its own.
  """
  return (
    identity.get("microbatch_size", 0) > 0
    and not identity.get("sync_batch_norm", False)
    and identity["sam_begin"] == 0  # Plain steps have no microbatches.
    and identity["sam_end"] == 1
  )


def advice(path: Any, name: str, theirs: Identity, mine: Identity) -> str:
  """Returns what to do about a field that differs, and may not."""
  other = "give another --workdir"
  if name == DEVICES:
    return (
      f"spread its batches over as many (config.devices_per_run={theirs[name]}"
      f"), or {other}; only a run with config.microbatch_size can be resumed on"
      " another number"
    )
  field = depends_on_length(mine) if name == grown(theirs, mine) else ""
  if field:
    return (
      f"config.{field}={mine[field]!r} depends on the length, so {other}, with"
      f" config.init_from={str(path)!r} to train on from its weights"
    )
  return other
