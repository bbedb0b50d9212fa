"""What the parts of the campaign share: a trial, and how a program is tried.

A part is a module here with `trials(folder, chance)`, which yields a `Trial`
for everything that it does to the program. `__main__.py` counts them.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).parents[2]
# Seconds until a program that does not end counts as hung.
PATIENCE = 600
WRONG_INPUT = 2


@dataclasses.dataclass(frozen=True)
class Trial:
  """One thing that was done to the program.

  Attributes:
    kind: the row of the table in which it is counted.
    what: what was done, so that it can be done again.
    fault: why the program did not survive it; '': it did.
  """

  kind: str
  what: str
  fault: str


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a program ended; a negative code is that of a signal."""

  code: int
  out: str
  err: str


def start(*args: str, **env: str) -> subprocess.Popen[str]:
  """Starts Python with these arguments in the root of the project."""
  return subprocess.Popen(
    [sys.executable, *args],
    cwd=ROOT,
    env=os.environ | env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def end(process: subprocess.Popen[str]) -> Outcome:
  """Waits for a process; one that hangs is killed, and has code -9."""
  try:
    out, err = process.communicate(timeout=PATIENCE)
  except subprocess.TimeoutExpired:
    process.kill()
    out, err = process.communicate()
  return Outcome(process.returncode, out, err)


class Fork:
  """A script of the project, run in a copy of this process.

  What this process has imported, the script need not import again. It must not
  have used JAX, whose threads a copy does not have.
  """

  def __init__(self, script: str, *args: str):
    self._out, self._err = (tempfile.TemporaryFile("w+") for _ in range(2))
    self.pid = os.fork()
    if self.pid == 0:
      os.dup2(self._out.fileno(), 1)
      os.dup2(self._err.fileno(), 2)
      os._exit(run(script, args))

  def end(self) -> Outcome:
    """Waits for it; one that hangs is killed, and has code -9."""
    code = _wait(self.pid)
    texts = []
    for file in (self._out, self._err):
      file.seek(0)
      texts.append(file.read())
      file.close()
    return Outcome(code, *texts)


def fork(script: str, *args: str) -> Outcome:
  """Runs a script of the project to its end; see `Fork`."""
  return Fork(script, *args).end()


def run(script: str, args: Sequence[str]) -> int:
  """Runs a script to its end; returns its exit code."""
  os.chdir(ROOT)
  sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))
  sys.argv = [script, *args]
  code = 0
  try:
    runpy.run_path(str(ROOT / script), run_name="__main__")
  except SystemExit as e:
    code = e.code if isinstance(e.code, int) else int(e.code is not None)
  except BaseException:
    traceback.print_exc()
    code = 1
  sys.stdout.flush()
  sys.stderr.flush()
  return code


def _wait(pid: int) -> int:
  start = time.monotonic()
  while True:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
      return os.waitstatus_to_exitcode(status)
    if time.monotonic() > start + PATIENCE:
      os.kill(pid, 9)
    time.sleep(0.01)


def fault(outcome: Outcome, codes: Sequence[int] = (0,)) -> str:
  """Returns what is wrong with how a program ended; '': nothing.

  Wrong input ends it with one line; nothing ends it with a traceback.

  Args:
    outcome: of the program.
    codes: that are right, beside that of wrong input.
  """
  lines = outcome.err.splitlines()
  if "Traceback" in outcome.err:
    return f"a traceback: {lines[-1]:.200}"
  if outcome.code == WRONG_INPUT:
    errors = [line for line in lines if line.startswith("error: ")]
    others = [x for x in lines if not x.startswith(("error: ", "warning: "))]
    if len(errors) == 1 and not others:
      return ""
    return f"not one line: {outcome.err!r:.300}"
  if outcome.code not in codes:
    return f"exit code {outcome.code}: {outcome.err!r:.300}"
  return ""
