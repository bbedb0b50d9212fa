"""main.py, started as a user does."""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
# All fields at their defaults.
BASE = f"--config={CONFIGS / 'base.py'}"


@dataclasses.dataclass
class Outcome:
  code: int
  out: str
  err: str


def snapshot(folder: pathlib.Path) -> dict[str, int]:
  """Returns the files and folders below a folder, with when they changed."""
  return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}
