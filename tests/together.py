"""Programs that train one run together, each a process of this machine."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO

import jax
import numpy as np
import orbax.checkpoint as ocp

from run_folder import files

ROOT = pathlib.Path(__file__).parents[1]
MAIN = ("main.py",)
# Seconds until programs that do not end count as hung.
PATIENCE = 600
# main.py, in which a step runs the code of argv[1].
FAULT = """
import runpy, sys
fault, step = sys.argv[1], int(sys.argv[2])
sys.argv = ["main.py", *sys.argv[3:]]
from configs import errors
from data import pipeline
take = pipeline.ResidentFeed.take
def fails(self, first, *others):
  if first >= step:
    exec(fault)
  return take(self, first, *others)
pipeline.ResidentFeed.take = fails
runpy.run_path("main.py", run_name="__main__")
"""


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


class Group:
  """So many processes of a program, with `--hosts` for each."""

  def __init__(
    self,
    args: Sequence[str],
    count: int = 2,
    commands: Mapping[int, Sequence[str]] | None = None,
  ):
    """Starts them.

    Args:
      args: of each, after the program.
      count: how many.
      commands: what some of them run in the place of main.py.
    """
    commands = commands or {}
    self._port = free_port()
    place = f"127.0.0.1:{self._port},{count}"
    self._files = [
      [tempfile.TemporaryFile("w+") for _ in range(2)] for _ in range(count)
    ]
    self.processes = [
      self._start(
        [*commands.get(i, MAIN), *args, f"--hosts={place},{i}"], *files
      )
      for i, files in enumerate(self._files)
    ]

  def _start(
    self, command: Sequence[str], out: IO[str], err: IO[str]
  ) -> subprocess.Popen[bytes]:
    """Starts Python with this command line, which writes to these files."""
    return subprocess.Popen(
      [sys.executable, *command],
      cwd=ROOT,
      env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
      stdout=out,
      stderr=err,
    )

  def text(self, index: int, number: int = 1) -> str:
    """Returns what a process has written to stdout, or (2) to stderr."""
    file = self._files[index][number - 1]
    # The process writes by the same place in the file.
    return os.pread(file.fileno(), 1 << 24, 0).decode()

  def wait_for(self, text: str) -> bool:
    """Waits until the first has printed this; returns whether it did."""
    start = time.monotonic()
    while text not in self.text(0):
      if self.processes[0].poll() is not None:
        return text in self.text(0)
      assert time.monotonic() < start + PATIENCE, self.text(0, 2)
      time.sleep(0.01)
    return True

  def wait_for_all(self) -> None:
    """Waits until the processes are connected."""
    start = time.monotonic()
    while self._num_connected() < len(self.processes):
      assert time.monotonic() < start + PATIENCE, self.text(0, 2)
      assert all(p.poll() is None for p in self.processes), self.text(0, 2)
      time.sleep(0.05)

  def _num_connected(self) -> int:
    """Returns the number of connections to the first process, on Linux."""
    lines = [
      line
      for name in ("tcp", "tcp6")
      for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return sum(
      fields[2].endswith(f":{self._port:04X}") and fields[3] == "01"
      for fields in map(str.split, lines)
    )

  def send(self, index: int, number: int) -> None:
    self.processes[index].send_signal(number)

  def end(self) -> tuple[list[int], float]:
    """Waits for all; returns their codes, and how many seconds it took.

    Those that hang are killed.
    """
    start = time.monotonic()
    for process in self.processes:
      try:
        left = max(PATIENCE + start - time.monotonic(), 0)
        process.wait(left)
      except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return [p.returncode for p in self.processes], time.monotonic() - start


def arrays(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns all numbers of the newest checkpoint of a run."""
  folder = workdir.absolute() / "checkpoints"
  step = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
  found = {"step": np.array(step)}
  with ocp.StandardCheckpointer() as checkpointer:
    for item in ("weights", "training"):
      tree = checkpointer.restore(folder / str(step) / item)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return found


def gap(workdir: pathlib.Path, other: pathlib.Path) -> float:
  """Returns the largest difference between numbers that two runs left.

  Those of metrics.jsonl and of the newest checkpoint; infinity: they have not
  the same ones.
  """
  mine, theirs = arrays(workdir), arrays(other)
  for line, of_other in zip(
    files.read_lines(workdir), files.read_lines(other), strict=True
  ):
    step = line["step"]
    mine |= {f"{step} {name}": np.array(x) for name, x in line.items()}
    theirs |= {f"{step} {name}": np.array(x) for name, x in of_other.items()}
  if mine.keys() != theirs.keys():
    return float("inf")
  gaps = [
    np.max(np.abs(np.subtract(mine[n], theirs[n], dtype=float)), initial=0)
    for n in mine
  ]
  return float(max(gaps))
