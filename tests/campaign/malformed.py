"""Files that are whole, but not what they should be, in every kind of folder.

Each is tried with every command that reads the folder. None may end with a
traceback, change what it should not, or speak of anything but wrong input.
"""

from collections.abc import Callable, Iterator
import json
import pathlib
import random
import shutil
from typing import Any

from tests.campaign import made
from tests.campaign import trials as trials_lib
from tests.campaign.trials import Trial

CONTENTS = {
  "[]": b"[]",
  "{}": b"{}",
  "5": b"5",
  "nothing": b"",
  "no UTF-8": b"\xff\xfe\x00",
  "half": b'{"config": {',
  "deep": b"[" * 100_000,
}
CHECKPOINT_FILES = (
  "metrics",
  "SHA256SUMS",
  "_METADATA",
  "_CHECKPOINT_METADATA",
)
# Of some thousand cases.
NUM_TRIALS = 200
# Where one key is taken away, or one value is another.
OTHER = ([], {}, 5, "text", None, -1, 1e308)


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  whole = made.make_all(folder / "whole")
  cases = []
  for kind, source in whole.items():
    for path in sorted(source.rglob("*")):
      if path.is_dir() or path.suffix in made.UNREAD:
        continue
      if "checkpoints" in path.parts and path.name not in CHECKPOINT_FILES:
        continue
      name = path.relative_to(source)
      for what, change in _changes(path, chance):
        cases += [(kind, name, what, change, r) for r in _readers(kind)]
    if kind in ("run", "sweep"):
      for what, change in _NAMES.items():
        cases += [(kind, "", what, change, r) for r in _readers(kind)]
  for kind, *case in chance.sample(cases, NUM_TRIALS):
    yield _try(kind, whole[kind], folder / "tried", *case)


def _readers(kind: str) -> list[str]:
  """Returns the names of the commands that read a folder."""
  if kind in made.STUDIES:
    return ["train"]
  return ["train", "resume", *made.readers(kind, pathlib.Path())]


Change = Callable[[pathlib.Path], None]


def _changes(
  path: pathlib.Path, chance: random.Random
) -> Iterator[tuple[str, Change]]:
  """Yields what is done to a file."""
  for what, content in CONTENTS.items():
    yield what, lambda p, content=content: _write(p, content)
  yield "a folder", _to_folder
  if path.suffix == ".json" or path.name == "metrics":
    record = json.loads(path.read_text())
    places = list(_places(record))
    for place in chance.sample(places, min(12, len(places))):
      yield f"no {place}", lambda p, place=place: _edit(p, place, None)
      other = chance.choice(OTHER)
      yield (
        f"{place} = {other!r}",
        lambda p, place=place, other=other: _edit(p, place, [other]),
      )
  if path.suffix == ".jsonl":
    for number in range(3):
      other = chance.choice(OTHER)
      yield (
        f"line {number} has {other!r}",
        lambda p, number=number, other=other: _edit_line(p, number, other),
      )


def _places(record: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple]:
  """Yields the keys that lead to each value of a JSON object."""
  items = (
    record.items()
    if isinstance(record, dict)
    else enumerate(record)
    if isinstance(record, list)
    else ()
  )
  for key, value in items:
    yield (*above, key)
    yield from _places(value, (*above, key))


def _write(path: pathlib.Path, content: bytes) -> None:
  path.write_bytes(content)
  _list_again(path)


def _to_folder(path: pathlib.Path) -> None:
  path.unlink()
  path.mkdir()
  (path / "file").write_text("x")
  _list_again(path)


def _list_again(path: pathlib.Path) -> None:
  """Lets the sums of a checkpoint fit, so that the content counts."""
  from run_folder import sums

  if "checkpoints" in path.parts and path.name != sums.SUMS:
    step = next(p for p in path.parents if p.parent.name == "checkpoints")
    sums.write(step)


def _edit(path: pathlib.Path, place: tuple, value: list[Any] | None) -> None:
  record = json.loads(path.read_text())
  *above, last = place
  at = record
  for key in above:
    at = at[key]
  if value is None:
    del at[last]
  else:
    at[last] = value[0]
  _write(path, json.dumps(record).encode())


def _edit_line(path: pathlib.Path, number: int, value: Any) -> None:
  lines = path.read_text().splitlines()
  number %= len(lines)
  line = json.loads(lines[number])
  line[sorted(line)[number % len(line)]] = value
  lines[number] = json.dumps(line)
  path.write_text("\n".join(lines) + "\n")


def _names(folder: str, names: tuple[str, ...]) -> Change:
  """Renames the newest of a folder, and puts a file beside it."""

  def change(path: pathlib.Path) -> None:
    inside = path / folder
    for name in names:
      if inside.is_dir() and not (inside / name).exists():
        newest = max(inside.iterdir(), key=lambda p: p.stat().st_mtime)
        (shutil.copytree if newest.is_dir() else shutil.copy)(
          newest, inside / name
        )

  return change


def _link(name: str) -> Change:
  """Puts a link to somebody else's file or folder in a place."""

  def change(path: pathlib.Path) -> None:
    victim = path.parent / "victim"
    shutil.rmtree(victim, ignore_errors=True)
    victim.mkdir()
    (victim / "file").write_text("precious")
    place = path / name
    if place.is_dir():
      shutil.rmtree(place)
    place.unlink(missing_ok=True)
    at = victim if "." not in name else victim / "file"
    place.symlink_to(at)

  return change


_ODD = ("0099", "٣٣", "99.damaged", "-1", "1e3", "99.npz", "1" * 200)
_NAMES: dict[str, Change] = {
  "odd names of checkpoints": _names("checkpoints", _ODD),
  "odd names of snapshots": _names("snapshots", (*_ODD, "0.5.npz", "x.npz")),
  "a checkpoint of a step beyond the end": _names("checkpoints", ("999999",)),
  "another folder of config.json": lambda p: _edit(
    p / "config.json", ("config", "dataset"), ["teacher_student"]
  ),
} | {
  f"{name} is a link": _link(name)
  for name in (
    "config.json",
    "metrics.jsonl",
    "result.json",
    "sharpness.json",
    ".lock",
    "checkpoints",
    "snapshots",
    "result.tmp",
    ".result.json.tmp",
    ".metrics.jsonl.tmp",
    "figure.png",
    "spectrum.png",
    "checkpoints/99.orbax-checkpoint-tmp",
    "seed=0-rho=0",
  )
}


def _try(
  kind: str,
  source: pathlib.Path,
  target: pathlib.Path,
  name: Any,
  what: str,
  change: Change,
  reader: str,
) -> Trial:
  """Returns how a command bears a change."""
  folder = made.copy(source, target)
  if reader == "resume":
    made.unfinish(folder)
  if not name or (folder / name).exists():  # Else it was unfinished.
    change(folder / name)
  if reader in ("train", "resume"):
    outcome = made.train(kind, folder)
  else:
    script, *args = made.readers(kind, folder)[reader]
    outcome = trials_lib.fork(script, *args)
  fault = trials_lib.fault(outcome)
  victim = target.parent / "victim" / "file"
  if victim.exists() and (
    victim.read_text() != "precious" or len(list(victim.parent.iterdir())) > 1
  ):
    fault = "it wrote through a link"
  where = f"{kind}/{name}: {what}, {reader}"
  return Trial(f"files of a wrong shape: {kind}", where, fault)
