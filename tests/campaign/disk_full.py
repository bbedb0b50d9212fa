"""A disk that gets full while something is written: a small tmpfs, as root.

The program ends with one line that says so. Once there is space, the same
command ends as if there had always been some.
"""

from collections.abc import Iterator
import os
import pathlib
import random
import shutil
import subprocess
import sys

from tests.campaign import made
from tests.campaign import trials as trials_lib
from tests.campaign.trials import Trial

NUM_TRIALS = {"run": 20, "sweep": 10, "study": 10, "computed": 5}
NUM_REPORTS = 10
KIB = 1024
PLENTY = 64 * KIB * KIB


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  if os.geteuid() != 0:
    print("disk_full: needs root, for a small tmpfs", file=sys.stderr)
    return
  made.use_small_studies()
  disk = folder / "disk"
  disk.mkdir()
  _mount(disk, "-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs")
  try:
    for kind, number in NUM_TRIALS.items():
      yield from _tried(kind, number, folder, chance)
    yield from _reports(folder, chance)
  finally:
    subprocess.run(["umount", str(disk)], check=True)


def _mount(disk: pathlib.Path, *args: str) -> None:
  subprocess.run(["mount", *args, str(disk)], check=True)


def _resize(disk: pathlib.Path, size: int) -> None:
  """Clears the disk, or leaves what is there, and gives it so many bytes."""
  _mount(disk, "-o", f"remount,size={size}")


def _used(disk: pathlib.Path) -> int:
  stat = os.statvfs(disk)
  return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def _tried(
  kind: str, number: int, folder: pathlib.Path, chance: random.Random
) -> Iterator[Trial]:
  disk = folder / "disk"
  whole = disk / "tried"
  outcome = made.train(kind, whole)
  assert (outcome.code, outcome.err) == (0, ""), outcome
  most = _used(disk)
  whole = made.copy(whole, folder / kind)
  for _ in range(number):
    workdir = disk / "tried"
    shutil.rmtree(workdir)
    size = chance.randrange(4 * KIB, most, KIB)
    _resize(disk, size)
    outcome = made.train(kind, workdir)
    fault = _fault(outcome)
    _resize(disk, PLENTY)
    outcome = made.train(kind, workdir)
    if not fault:
      fault = "" if outcome.code == 0 else f"not resumed: {outcome.err}"
    fault = fault or trials_lib.fault(outcome)
    fault = fault or made.difference(workdir, whole)
    what = f"{kind} on {size // KIB} of {most // KIB} KiB"
    yield Trial(f"no space left: {kind}", what, fault)
  shutil.rmtree(disk / "tried")


def _fault(outcome: trials_lib.Outcome) -> str:
  fault = trials_lib.fault(outcome)
  if not fault and outcome.code and "No space left" not in outcome.err:
    return f"another reason: {outcome.err}"
  return fault


def _reports(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  disk = folder / "disk"
  for _ in range(NUM_REPORTS):
    size = chance.randrange(4 * KIB, 100 * KIB, KIB)
    run = made.copy(folder / "run", disk / "run")
    _resize(disk, _used(disk) + size)
    for name in ("report", "sharpness"):
      outcome = trials_lib.fork(*made.readers("run", run)[name])
      what = f"{name} on {size // KIB} KiB"
      yield Trial(f"no space left: {name}", what, _fault(outcome))
    _resize(disk, PLENTY)
