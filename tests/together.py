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

ROOT = pathlib.Path(__file__).parents[1]
# Seconds until programs that do not end count as hung.
PATIENCE = 600
# Changes what main.py does at its step 100; argv[1] is what it does there.
FAULT = """
import runpy, sys
fault, sys.argv = sys.argv[1], ["main.py", *sys.argv[2:]]
from configs import errors
from data import pipeline
take = pipeline.ResidentFeed.take
def fails(self, first, *others):
  if first >= 100:
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
    place = f"127.0.0.1:{free_port()},{count}"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    self._files = [
      [tempfile.TemporaryFile("w+") for _ in range(2)] for _ in range(count)
    ]
    self.processes = [
      subprocess.Popen(
        [
          sys.executable,
          *commands.get(index, ["main.py"]),
          *args,
          f"--hosts={place},{index}",
        ],
        cwd=ROOT,
        env=env,
        stdout=out,
        stderr=err,
      )
      for index, (out, err) in enumerate(self._files)
    ]

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
