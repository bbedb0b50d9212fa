"""What config.json states of training: on which data, how many runs at once.

Data are told apart by their fingerprints; `data/fingerprint.py` makes them.
"""

from collections.abc import Mapping
import sys
from typing import Any

from run_folder import disk
from run_folder.disk import Record

# Difference between real numbers that is no other data, relative to their size.
TOLERANCE = 1e-5
# The fact of config.json that is the fingerprint.
DATA = "data"
GIVEN = "data_given"
NUM_AT_ONCE = "num_at_once"
# What predictions need to know of the data.
TASK = "task"


def facts(
  fingerprint: Record, *, is_given: bool, num_at_once: int, task: Record
) -> Record:
  """Returns what config.json states beside config and identity.

  Args:
    fingerprint: of the data, as of `data.fingerprint.of`.
    is_given: whether they were given, and are not those that the config names.
    num_at_once: how many runs a device trains in one call.
    task: as of `data.task.to_json`.
  """
  return {
    DATA: fingerprint,
    GIVEN: is_given,
    NUM_AT_ONCE: num_at_once,
    TASK: task,
  }


def warn_of_other_calls(before: Record, now: Record) -> None:
  """Says if a resumed sweep will not have the bits of one that went on.

  That is so where more or fewer runs share a call, as on another number of
  devices.

  Args:
    before: the facts when the folder was opened.
    now: those of this process.
  """
  was = before.get(NUM_AT_ONCE, now[NUM_AT_ONCE])
  if was != now[NUM_AT_ONCE]:
    print(
      f"warning: a device trained {was} runs at once, and now trains"
      f" {now[NUM_AT_ONCE]}: the sweep ends with other last bits than one that"
      " was not interrupted",
      file=sys.stderr,
    )


def check(workdir: Any, before: Record, fingerprint: Record) -> None:
  """Raises `RunError` if a folder was trained on other data.

  Args:
    workdir: the folder.
    before: its facts; see `files.read_facts`. Those of version 0.1 do not state
      on which data it was trained.
    fingerprint: of the data, as of `data.fingerprint.of`.
  """
  with disk.usable(f"workdir {workdir}"):
    found = _difference(before[DATA], fingerprint) if DATA in before else None
  if found:
    raise disk.RunError(
      f"workdir {workdir}: was trained on other data ({found}); give it the"
      " same, or another --workdir"
    )


def _difference(theirs: Mapping[str, Any], mine: Record) -> str | None:
  """Returns how two fingerprints differ, "A, not B", or None."""
  if theirs["splits"].keys() != mine["splits"].keys():
    ends = [f"{f['name']} ({', '.join(f['splits'])})" for f in (theirs, mine)]
    return ", not ".join(ends)
  for split, own in mine["splits"].items():
    other = theirs["splits"][split]
    if not _is_same(other, own):
      return (
        f"{theirs['name']}, {split}: {_text(other)}, not {mine['name']},"
        f" {split}: {_text(own)}"
      )
  return None


def _is_same(theirs: Record, mine: Record) -> bool:
  if theirs.keys() != mine.keys():
    return False
  scale = mine.get("rms", 0.0)
  for name, value in mine.items():
    if isinstance(value, dict):
      if not _is_same(theirs[name], value):
        return False
    elif isinstance(value, float):
      if abs(theirs[name] - value) > TOLERANCE * scale:
        return False
    elif theirs[name] != value:
      return False
  return True


def _text(split: Record) -> str:
  text = f"{split['num_examples']:,} examples"
  if "version" in split:
    return f"{text} of {split['version']!r}"
  for name in ("inputs", "targets"):
    array = split[name]
    shape = "x".join(map(str, array["shape"]))
    stated = [array["dtype"], shape, array.get("sha256", "")[:8]]
    stated += [f"{array[n]:.7g}" for n in ("rms", "projection") if n in array]
    text += f", {name} {' '.join(filter(None, stated))}"
  return text
