"""Cells that a study computes itself, where theory is faster than training.

The trainer writes a folder of runs for each of its cells; of these, a study's
function `compute` returns all rows at once.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

from run_folder import files

RESULT = "computed.json"


@dataclasses.dataclass(frozen=True)
class Cell:
  """What is computed in one call.

  Attributes:
    name: of its folder, unique in the study.
    settings: all that its rows depend on; JSON values.
    num_runs: rows that it has.
    labels: columns that its rows gain in the table of results.
  """

  name: str
  settings: Mapping[str, Any]
  num_runs: int
  labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(folder: pathlib.Path, cell: Cell) -> list[files.Record] | None:
  """Returns the rows of a cell, or None if it is not over.

  Raises:
    RunError: the folder holds other settings, or cannot be read.
  """
  path = folder / RESULT
  if not path.exists():
    return None
  try:
    found = json.loads(path.read_text())
    theirs, rows = found["settings"], found["rows"]
  except (OSError, ValueError, KeyError) as e:
    raise files.RunError(f"workdir {folder}: cannot be used ({e})") from e
  mine = json.loads(json.dumps(dict(cell.settings)))
  files.check_same(folder, theirs, mine)
  return rows


def write(
  folder: pathlib.Path, cell: Cell, rows: Sequence[files.Record]
) -> None:
  """Writes the rows of a cell; what is not finite becomes None."""
  folder.mkdir(parents=True, exist_ok=True)
  found = {"settings": dict(cell.settings), "rows": files.finite(list(rows))}
  files.write_json(folder / RESULT, found | files.provenance())
