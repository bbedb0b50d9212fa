"""A program that a worker of a cluster starts: it ends with its worker.

Workers get these functions as they are, without the rest of this project, so
that they may run in any folder: what they import is Python's, or Dask's. As a
program, `leash.py WORKER CORES COMMAND...` becomes that command.
"""

from collections.abc import Mapping, Sequence
import ctypes
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

# Has what a cell prints.
LOG = "cell.log"
# Seconds to wait for files that another machine has just written, and for the
# lock of a folder whose program is about to end, since its worker was killed.
PATIENCE = 5.0
LOCK_PATIENCE = 60.0
# Of Linux: which signal a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1
# Of what a program printed, the lines that are returned.
_NUM_LINES = 15
_NUM_BYTES = 4000


def do(
  command: list[str],
  folder: str,
  probe: str,
  places: Sequence[Mapping[str, str]],
) -> tuple[int | None, str]:
  """Runs a program to its end, on the worker of Dask that calls this.

  Args:
    command: Python, the path of this file, and the command to become.
    folder: in which it writes; gets a log of all that it prints.
    probe: a file that this worker must see.
    places: of each worker, by its name: its CORES, and variables of the
      environment; none: it may use what the worker may.

  Returns:
    Its exit code (negative: the signal that ended it) and the last lines that
    it printed. None instead: the worker does not see the files, and which.
  """
  import dask
  import distributed

  worker = distributed.get_worker()
  place = dict(places[int(worker.name)]) if places else {}
  for path in (probe, command[0], command[1]):
    if not _is_there(path):
      return None, path
  _wait_for_lock(os.path.join(folder, ".lock"))
  flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
  os.makedirs(folder, exist_ok=True)
  log = os.open(os.path.join(folder, LOG), flags, 0o666)
  begin = os.fstat(log).st_size
  leash = [*command[:2], str(os.getpid()), place.pop("CORES", "")]
  # What Dask sets against many threads of its own: a cell uses all its cores.
  theirs = dask.config.get("distributed.nanny.pre-spawn-environ")
  mine = {k: v for k, v in os.environ.items() if v != str(theirs.get(k))}
  try:
    process = subprocess.Popen(
      [*leash, *command[2:]],
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=log,
      env=mine | place,
      start_new_session=True,  # Ctrl-C is for the program that started all.
    )
    started = worker.__dict__.setdefault("leashed", {})
    started[process] = probe
    if worker.__dict__.get("stopped") == probe:
      stop(probe, worker)
    code = process.wait()
    started.pop(process, None)
    begin = max(begin, os.fstat(log).st_size - _NUM_BYTES)
    text = os.pread(log, _NUM_BYTES, begin)
  finally:
    os.close(log)
  lines = text.decode(errors="replace").splitlines()
  return code, "\n".join(lines[-_NUM_LINES:])


def stop(probe: str, dask_worker: Any) -> None:
  """Lets the programs of a worker save and end, once; no more are begun.

  Args:
    probe: only those that were started with it.
    dask_worker: the worker; Dask passes it by this name.
  """
  dask_worker.stopped = probe
  started = dask_worker.__dict__.get("leashed", {})
  for process in [p for p, mine in started.items() if mine == probe]:
    del started[process]  # A second signal would not let it save.
    process.terminate()


def _is_there(path: str) -> bool:
  end = time.monotonic() + PATIENCE
  while not os.path.exists(path):
    if time.monotonic() > end:
      return False
    time.sleep(0.2)
  return True


def _wait_for_lock(path: str) -> None:
  """Waits for a program that holds a folder, for a while."""
  end = time.monotonic() + LOCK_PATIENCE
  while os.path.exists(path) and time.monotonic() < end:
    with open(path, "rb") as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return
      except OSError:
        pass
    time.sleep(0.5)


def main(worker: str, cores: str, *command: str) -> None:
  """Becomes a command, which a worker has started.

  Args:
    worker: number of its process.
    cores: those that the command may use, with commas; '': all.
    command: a Python program and its arguments.
  """
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if cores:
      os.sched_setaffinity(0, map(int, cores.split(",")))
  if os.getppid() != int(worker):  # It was killed before.
    sys.exit("the worker is gone")
  program = pathlib.Path(__file__).parents[1] / command[0]
  os.execv(sys.executable, [sys.executable, str(program), *command[1:]])


if __name__ == "__main__":
  main(*sys.argv[1:])
