"""Files that were cut, emptied, garbled, deleted or exchanged.

Each file of each kind of folder is damaged and read back. The program refuses
in one line, or does as if nothing had happened: a resumed run ends with the
same bits, an evaluation prints the same numbers. A digit that is another one in
a text file nobody notices, so bits are flipped in checkpoints alone.
"""

from collections.abc import Callable, Iterator
import os
import pathlib
import random
import shutil

from tests.campaign import made
from tests.campaign import trials as trials_lib
from tests.campaign.trials import Trial

NUM_TRIALS = 150
Damage = Callable[[pathlib.Path], None]


def _cut(path: pathlib.Path) -> None:
  os.truncate(path, path.stat().st_size // 2)


def _empty(path: pathlib.Path) -> None:
  os.truncate(path, 0)


def _garble(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  middle = len(content) // 2
  content[middle : middle + 64] = bytes(len(content[middle : middle + 64]))
  path.write_bytes(content)


def _flip(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  if content:
    content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _exchange(path: pathlib.Path) -> None:
  others = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
  if others:
    shutil.copy(others[0], path)


DAMAGES: dict[str, Damage] = {
  "cut": _cut,
  "emptied": _empty,
  "garbled": _garble,
  "deleted": os.unlink,
  "exchanged": _exchange,
  "flipped": _flip,
}


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  whole = made.make_all(folder / "whole")
  said = {
    kind: trials_lib.fork(*made.readers(kind, source)["eval"]).out
    for kind, source in whole.items()
    if kind not in made.STUDIES
  }
  cases = []
  for kind, source in whole.items():
    for path in sorted(source.rglob("*")):
      if path.is_dir() or path.suffix in made.UNREAD:
        continue
      for damage in DAMAGES:
        if damage != "flipped" or "checkpoints" in path.parts:
          readers = ("train", "eval", "resume") if kind in said else ("train",)
          name = path.relative_to(source)
          cases += [(kind, name, damage, reader) for reader in readers]
  for kind, name, damage, reader in chance.sample(cases, NUM_TRIALS):
    target = made.copy(whole[kind], folder / "tried")
    if reader == "resume":
      made.unfinish(target)
    if (target / name).exists():  # Else it was unfinished.
      DAMAGES[damage](target / name)
    if reader == "eval":
      outcome = trials_lib.fork(*made.readers(kind, target)["eval"])
      fault = trials_lib.fault(outcome)
      if not fault and outcome.code == 0 and outcome.out != said[kind]:
        fault = f"printed {outcome.out}"
    else:
      outcome = made.train(kind, target)
      fault = trials_lib.fault(outcome)
      # What is over is left alone, and its snapshots are not read again.
      if not fault and outcome.code == 0 and reader == "resume":
        fault = made.difference(target, whole[kind])
    yield Trial(f"a file {damage}", f"{kind}/{name} {damage}, {reader}", fault)
