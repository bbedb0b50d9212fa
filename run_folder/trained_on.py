"""Whether data are those that a run folder was trained on.

They are told apart by their fingerprints; `data/fingerprint.py` makes them.
"""

from collections.abc import Mapping
from typing import Any

from run_folder import disk
from run_folder.disk import Record

# Difference between real numbers that is no other data, relative to their size.
TOLERANCE = 1e-5
# The fact of config.json that is the fingerprint.
DATA = "data"
# Whether they were given, and are not those that the config names.
GIVEN = "data_given"


def check(workdir: Any, facts: Record, fingerprint: Record) -> None:
  """Raises `RunError` if a folder was trained on other data.

  Args:
    workdir: the folder.
    facts: of it; see `files.read_facts`. Those of version 0.1 do not state on
      which data it was trained.
    fingerprint: of the data, as of `data.fingerprint.of`.
  """
  with disk.usable(f"workdir {workdir}"):
    found = _difference(facts[DATA], fingerprint) if DATA in facts else None
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
