"""SIGKILL at random moments: while a program starts, trains, saves, evaluates.

What was killed, and killed again while it resumed, ends as what was not.
"""

from collections.abc import Iterator
import os
import pathlib
import random
import shutil
import signal
import time

from tests.campaign import made
from tests.campaign import trials as trials_lib
from tests.campaign.trials import Trial

# Kills of each kind of folder.
NUM_KILLS = {"long": 30, "long_sweep": 15, "study": 10, "computed": 5}
MAX_KILLS_IN_A_ROW = 3


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  made.use_small_studies()
  for kind, num_kills in NUM_KILLS.items():
    whole = folder / f"{kind}-whole"
    made.train(kind, folder / f"{kind}-compiles")
    begin = time.monotonic()
    outcome = made.train(kind, whole)
    seconds = time.monotonic() - begin
    assert (outcome.code, outcome.err) == (0, ""), outcome
    killed = 0
    while killed < num_kills:
      workdir = folder / "killed"
      shutil.rmtree(workdir, ignore_errors=True)
      after = []
      for _ in range(chance.randint(1, MAX_KILLS_IN_A_ROW)):
        delay = chance.uniform(0.1, seconds)
        if _kill(kind, workdir, delay):
          after.append(f"{delay:.2f}")
      outcome = made.train(kind, workdir)
      fault = trials_lib.fault(outcome) or made.difference(workdir, whole)
      if not fault and outcome.code != 0:
        fault = outcome.err
      killed += max(len(after), 1)
      for _ in after:
        what = f"{kind} killed after {', '.join(after)} of {seconds:.2f} s"
        yield Trial(f"SIGKILL: {kind}", what, fault)


def _kill(kind: str, workdir: pathlib.Path, delay: float) -> bool:
  """Kills a program after so many seconds; returns whether it still ran."""
  program = made.start(kind, workdir)
  time.sleep(delay)
  os.kill(program.pid, signal.SIGKILL)  # It is ours until it is waited for.
  return program.end().code == -signal.SIGKILL
