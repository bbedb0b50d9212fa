"""main.py, started as a user does."""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
# All fields at their defaults.
BASE = f"--config={CONFIGS / 'base.py'}"
# Seconds until a program that does not end counts as hung. Among twenty busy
# processes, two cores have taken minutes for what takes seconds alone.
PATIENCE = 1800


@dataclasses.dataclass
class Outcome:
  code: int
  out: str
  err: str


def snapshot(folder: pathlib.Path) -> dict[str, int]:
  """Returns the files and folders below a folder, with when they changed."""
  return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}
