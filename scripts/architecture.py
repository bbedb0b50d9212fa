"""Measures the house: `python -m scripts.architecture`.

A room is a folder of the tree, or a module in its root; an arrow leads from a
room to one that it imports, anywhere in a file. Tests, benchmarks, scripts and
the configs of single workloads are left out. Prints the modules in the root,
the arrows, the floors, the lines of code, and how many functions of ours lie
between the entrance and the training step.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import ast
from collections.abc import Iterable, Mapping
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
LEFT_OUT = ("benchmarks", "scripts", "tests")
Arrows = Mapping[str, set[str]]

# What each room may import. `studies/kit` is a room of its own.
ALLOWED: Arrows = {
  "main": {"configs", "program", "run_folder", "train", "training"},
  "study": {"configs", "program", "studies/kit"},
  "report": {"analysis", "program", "run_folder"},
  "sharpness_report": {
    "analysis",
    "configs",
    "program",
    "run_folder",
    "sharpness",
    "training",
  },
  "studies": {
    "analysis",
    "data",
    "models",
    "run_folder",
    "sharpness",
    "studies/kit",
    "theory",
    "training",
  },
  "studies/kit": {
    "analysis",
    "configs",
    "data",
    "program",
    "run_folder",
    "theory",
    "train",
    "training",
  },
  "train": {"configs", "data", "run_folder", "training"},
  "analysis": {"configs", "data", "run_folder", "sharpness", "training"},
  "training": {"configs", "data", "models", "sam", "sharpness"},
  "run_folder": {"configs"},
  "data": {"configs"},
  "theory": {"sharpness"},
  "configs": set(),
  "library": set(),
  "models": set(),
  "program": set(),
  "sam": set(),
  "sharpness": set(),
}


def room_of(path: pathlib.PurePath) -> str:
  """Returns the room of a file, whose path starts at the root."""
  if path.parts[:2] == ("studies", "kit"):
    return "studies/kit"
  return path.parts[0].removesuffix(".py")


def sources() -> list[pathlib.Path]:
  """Returns the modules of the project, from the root on."""
  listed = subprocess.run(
    ["git", "ls-files", "*.py"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  paths = [pathlib.Path(name) for name in listed]
  return [
    p for p in paths if p.parts[0] not in LEFT_OUT and (ROOT / p).exists()
  ]


def imports(path: pathlib.Path) -> Iterable[str]:
  """Yields the dotted names of modules that a file may import."""
  for node in ast.walk(ast.parse((ROOT / path).read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(paths: Iterable[pathlib.Path]) -> dict[str, set[str]]:
  """Returns the rooms that each room imports."""
  paths = list(paths)
  rooms: dict[str, set[str]] = {room_of(path): set() for path in paths}
  for path in paths:
    for name in imports(path):
      target = room_of(pathlib.PurePath(*name.split(".")))
      if target in rooms and target != room_of(path):
        rooms[room_of(path)].add(target)
  return rooms


def floors(graph: Arrows) -> dict[str, int]:
  """Returns the floor of each room: one above the highest that it imports.

  Raises:
    ValueError: rooms import each other in a circle.
  """
  found: dict[str, int] = {}

  def floor(room: str, above: tuple[str, ...]) -> int:
    if room in above:
      raise ValueError(f"a circle: {' -> '.join((*above, room))}")
    if room not in found:
      below = [floor(other, (*above, room)) for other in graph[room]]
      found[room] = 1 + max(below, default=0)
    return found[room]

  for room in graph:
    floor(room, ())
  return found


def frames_to_step() -> list[str]:
  """Returns our functions between main.py and the step, in the order of calls.

  They are read off the stack while the step of a small run is traced.
  """
  probe = """
import sys, traceback
sys.argv[1:] = sys.argv[2:]
from program import jax_setup
from training import step
plain = step.train_step
def traced(*args, **kwargs):
  frames = [
    f"{frame.filename.removeprefix(ROOT)}:{frame.name}"
    for frame in traceback.extract_stack()[:-1]
    if frame.filename.startswith(ROOT) and "site-packages" not in frame.filename
  ]
  print("FRAMES", *frames)
  return plain(*args, **kwargs)
step.train_step = traced
import runpy
runpy.run_path(ROOT + "main.py", run_name="__main__")
"""
  with tempfile.TemporaryDirectory() as folder:
    printed = subprocess.run(
      [
        sys.executable,
        "-c",
        f"ROOT = {str(ROOT) + '/'!r}\n{probe}",
        "-",
        "--config=configs/mlp_digits.py",
        "--config.num_neurons=(4,)",
        "--config.num_epochs=1",
        f"--workdir={folder}",
      ],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=True,
    ).stdout
  lines = [x for x in printed.splitlines() if x.startswith("FRAMES")]
  frames = lines[0].split()[1:]
  ours = [i for i, f in enumerate(frames) if f.startswith("main.py")]
  return [*frames[ours[-1] + 1 :], "training/step.py:train_step"]


def main() -> None:
  paths = sources()
  graph = arrows(paths)
  floor_of = floors(graph)
  for number in sorted(set(floor_of.values()), reverse=True):
    for room in sorted(room for room, n in floor_of.items() if n == number):
      print(f"floor {number}  {room:18} -> {', '.join(sorted(graph[room]))}")
  lines = sum(len((ROOT / path).read_text().splitlines()) for path in paths)
  print(f"modules in the root: {sum(len(p.parts) == 1 for p in paths)}")
  print(f"arrows: {sum(map(len, graph.values()))}")
  print(f"floors: {max(floor_of.values())}")
  print(f"lines of code: {lines:,}")
  frames = frames_to_step()
  print(f"from the entrance to the step: {len(frames)} functions")
  for frame in frames:
    print(f"  {frame}")


if __name__ == "__main__":
  main()
