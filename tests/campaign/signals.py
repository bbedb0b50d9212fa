"""Signals against every program, from 0.2 s after its start on.

While nothing is to be saved, a program ends by the signal, with one line,
within `LIMIT`. One that trains saves first; after all of it, the run ends as
one that was left alone.
"""

from collections.abc import Iterator, Sequence
import pathlib
import random
import signal
import time

from run_folder import files
from tests.campaign import trials as lib
from tests.campaign.trials import Trial

# Seconds from the signal to the end.
LIMIT = 2.0
FIRST = 0.2
# Until the last one. A program that ends before is tried for the first part of
# its time alone: at its very end, Python no longer lets it say anything.
LAST = 12.0
PART = 0.8
TRIES = 12
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MLP = (
  "main.py",
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(8,)",
  "--config.validation_fraction=0",
)
TRAINS = (*MLP, "--config.num_epochs=300", "--config.steps_per_call=1")
SAVED = "stopped and saved at step "


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  """Yields a trial for each signal that a program got."""
  # Else `nohup make campaign` would let the programs ignore it.
  signal.signal(signal.SIGHUP, lambda *_: None)
  run, trained = folder / "run", folder / "trained"
  for name, command in {
    "a run to read": (*MLP, "--config.num_epochs=2", f"--workdir={run}"),
    "a run left alone": (*TRAINS, f"--workdir={folder / 'alone'}"),
  }.items():
    yield Trial(name, "", lib.fault(lib.end(lib.start(*command))))
  for name, command in _programs(folder, run, trained).items():
    last, whole = _alone(command)
    for i in range(TRIES if last > FIRST else 0):
      wait = FIRST + (last - FIRST) * (i + chance.random()) / TRIES
      number = chance.choice(SIGNALS)
      fault = _fault(command, wait, number, whole)
      if fault is not None:
        yield Trial(name, f"{name}: {number.name} after {wait:.2f} s", fault)
  fault = lib.fault(lib.end(lib.start(*TRAINS, f"--workdir={trained}")))
  lines, wanted = (
    (f / files.METRICS).read_bytes() for f in (trained, folder / "alone")
  )
  if not fault and lines != wanted:
    fault = "it has other lines than a run that was left alone"
  yield Trial("the run after all of them", str(trained), fault)


def _programs(
  folder: pathlib.Path, run: pathlib.Path, trained: pathlib.Path
) -> dict[str, tuple[str, ...]]:
  """Returns the command line of every program, by its name."""
  return {
    "`main.py`": (*TRAINS, f"--workdir={trained}"),
    "`main.py --mode=eval`": ("main.py", "--mode=eval", f"--workdir={run}"),
    "`main.py --help`": (*MLP, "--help"),
    "`study.py`": (
      "study.py",
      "--study=studies/label_noise.py",
      f"--workdir={folder / 'study'}",
    ),
    "`study.py`, computed": (
      "study.py",
      "--study=studies/benign_overfitting.py",
      f"--workdir={folder / 'computed'}",
    ),
    "`report.py`": ("report.py", str(run), f"--out={folder / 'report'}"),
    "`sharpness_report.py`": ("sharpness_report.py", f"--workdir={run}"),
    "`-m benchmarks.step_time`": ("-m", "benchmarks.step_time"),
  }


def _alone(command: Sequence[str]) -> tuple[float, str]:
  """Returns how long to try a program, and what it prints if it soon ends."""
  if command[0] == "main.py" and command[1:5] == TRAINS[1:5]:
    return LAST, ""
  start = time.monotonic()
  process = lib.start(*command)
  while process.poll() is None and time.monotonic() < start + LAST:
    time.sleep(0.01)
  seconds = time.monotonic() - start
  process.kill()
  outcome = lib.end(process)
  return PART * seconds, outcome.out if outcome.code == 0 else ""


def _fault(
  command: Sequence[str], wait: float, number: signal.Signals, whole: str
) -> str | None:
  """Returns what is wrong with how a program ended; None: before the signal.

  Args:
    command: of the program.
    wait: seconds until the signal.
    number: of the signal.
    whole: all that the program prints; '': unknown.
  """
  process = lib.start(*command)
  time.sleep(wait)
  if process.poll() is not None:
    lib.end(process)
    return None
  start = time.monotonic()
  process.send_signal(number)
  outcome = lib.end(process)
  seconds = time.monotonic() - start
  # It had ended but for Python, which takes its time.
  if seconds < LIMIT and whole and outcome.out == whole:
    return None
  if outcome.code != -number:
    return f"exit code {outcome.code}: {outcome.err!r:.300}"
  out, err = outcome.out.splitlines(), outcome.err.splitlines()
  if out and SAVED in out[-1]:
    return f"more than a line: {outcome.err!r:.300}" if err else ""
  if len(err) != 1 or not err[0].startswith(f"stopped by {number.name}: "):
    return f"not one line: {outcome.err!r:.300}"
  return f"it ended after {seconds:.1f} s" if seconds > LIMIT else ""
