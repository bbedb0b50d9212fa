"""SIGKILL to workers of a study, each while it trains a cell.

A study of twelve cells is done in turn, then by two workers that are killed,
by workers of a scheduler that was started by hand, and by the same command
again after Ctrl-C: all leave the same, bit for bit. Needs Dask and Linux.
"""

from collections.abc import Iterator
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys

from tests import cells as cells_lib
from tests import entrance
from tests.campaign.trials import Trial

NUM_KILLS = 3


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  """Yields a trial for each way to do the study."""
  # Else the program would ignore it, behind `&`.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  (folder / "my_study.py").write_text(cells_lib.STUDY)
  program = cells_lib.Program(folder)
  done = program.run("--preset=many", "--workdir=in_turn")
  assert done.code == 0, done.err
  wanted = cells_lib.left(folder / "in_turn")

  def fault(name: str, done: entrance.Outcome, told: str = "") -> str:
    if done.code or told not in done.out + done.err:
      return f"code {done.code}: {done.out}{done.err}"
    same = cells_lib.left(folder / name) == wanted
    return "" if same else "it left something else"

  process = program.start("--preset=many", "--workdir=killed", "--workers=2")
  killed = _kill_workers(process, folder / "killed", chance)
  done = program.end(process)
  tried_again = done.err.count("is tried again")
  what = f"workers killed at {killed}, {tried_again} cells tried again"
  yield Trial("two workers, 3 killed", what, fault("killed", done, "again"))

  process = program.start("--preset=many", "--workdir=stopped", "--workers=2")
  cells_lib.wait_for_training(process, folder / "stopped")
  os.killpg(process.pid, signal.SIGINT)
  assert program.end(process).code == -signal.SIGINT
  done = program.run("--preset=many", "--workdir=stopped", "--workers=2")
  yield Trial("Ctrl-C, and the same again", "", fault("stopped", done))

  with _Cluster(folder / "elsewhere") as address:
    done = program.run(
      "--preset=many", "--workdir=joined", f"--scheduler={address}"
    )
  yield Trial("a scheduler, two workers", address, fault("joined", done))


def _kill_workers(
  process: subprocess.Popen, folder: pathlib.Path, chance: random.Random
) -> list[str]:
  """Kills the worker of a cell that trains, thrice; returns the cells."""
  killed: list[str] = []
  workers: set[int] = set()
  while len(killed) < NUM_KILLS:
    cells = cells_lib.wait_for_training(process, folder)
    for name in chance.sample(sorted(cells), 1):
      worker = cells[name][1]
      if worker not in workers and name not in killed:
        os.kill(worker, signal.SIGKILL)
        workers.add(worker)
        killed.append(name)
  return killed


class _Cluster:
  """A scheduler and two workers that are started by hand, in a folder."""

  def __init__(self, folder: pathlib.Path):
    folder.mkdir()
    self._folder = folder
    self._processes: list[subprocess.Popen] = []

  def __enter__(self) -> str:
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    self._start("scheduler", "--host=127.0.0.1", f"--port={port}")
    for _ in range(2):
      self._start("worker", address, "--nthreads=1")
    return address

  def __exit__(self, *error: object) -> None:
    for process in reversed(self._processes):
      process.terminate()
      process.wait()

  def _start(self, kind: str, *flags: str) -> None:
    self._processes.append(
      subprocess.Popen(
        [
          sys.executable,
          "-m",
          f"distributed.cli.dask_{kind}",
          "--no-dashboard",
          *flags,
        ],
        cwd=self._folder,
        stderr=subprocess.DEVNULL,
      )
    )
