"""One run over several processes: equal numbers, kills, signals and failures.

What was killed or stopped, again and again, ends as what was not.
"""

from collections.abc import Iterator, Sequence
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
from typing import IO, Any

from run_folder import log  # noqa: F401  What main.py imports, for its copies.
from run_folder import tensorboard  # noqa: F401
from tests import tfds_fixtures
from tests import together
from tests.campaign import trials as lib
from tests.campaign.trials import Trial
import train  # noqa: F401

# Largest difference between numbers in float64.
LIMIT = 1e-10
# Seconds until all have ended.
END = {"SIGKILL": 30.0, "signal": 30.0, "failure": 15.0}
# By the number of processes.
NUM_KILLS, NUM_STOPS = {2: 14, 3: 10}, {2: 6, 3: 4}
MAX_IN_A_ROW = 5
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FAILURES = {
  "raise ValueError('made up')": (1, "ValueError: made up"),
  "raise errors.UserError('made up')": (2, "made up"),
  "raise MemoryError('made up')": (2, "made up"),
  "sys.exit(3)": (3, "it ended"),
}
SMALL = (
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(8,)",
  "--config.batch_size=96",
  "--config.steps_per_call=1",
  "--config.augment",
  "--config.eval_every_epochs=4",
  "--config.checkpoint_every_steps=8",
  "--config.log_every_steps=7",
)
LONG = (*SMALL, "--config.num_epochs=10")  # 120 steps.

_MLP: dict[str, Any] = {
  "num_neurons": (8,),
  "num_train_steps": 50,
  "log_every_steps": 5,
  "augment": True,
}
_RESNET: dict[str, Any] = {
  "num_filters": 2,
  "num_train_steps": 50,
  "log_every_steps": 10,
  "batch_size": 32,
}
EQUAL: dict[str, tuple[str, dict[str, Any]]] = {
  "MLP": ("mlp_digits", _MLP),
  "MLP, `sync_perturbation`": (
    "mlp_digits",
    _MLP | {"sync_perturbation": True},
  ),
  "MLP, microbatches": ("mlp_digits", _MLP | {"microbatch_size": 16}),
  "MLP, SGD": ("mlp_digits", _MLP | {"optimizer": "sgd"}),
  "MLP, `init_from`": ("mlp_digits", _MLP | {"init_from": "FIRST"}),
  "ResNet": ("resnet_digits", _RESNET),
  "ResNet, `sync_batch_norm`": (
    "resnet_digits",
    _RESNET | {"sync_batch_norm": True},
  ),
  "ResNet, `sync_batch_norm`, `sync_perturbation`": (
    "resnet_digits",
    _RESNET | {"sync_batch_norm": True, "sync_perturbation": True},
  ),
  "ResNet, microbatches": ("resnet_digits", _RESNET | {"microbatch_size": 8}),
  "GCN, metrics of whole splits": (
    "gcn_motifs",
    {"hidden_size": 4, "num_train_steps": 50, "eval_batch_size": 64},
  ),
  "streamed ImageNet": (
    "resnet_imagenet",
    {
      "model": "mlp",
      "num_neurons": (2,),
      "batch_size": 4,
      "num_train_steps": 50,
      "eval_batch_size": 6,
      "log_every_steps": 5,
    },
  ),
}


class _Forked:
  """main.py in a copy of this process, with the methods of `Popen`."""

  def __init__(self, args: Sequence[str], out: IO[str], err: IO[str]):
    self.returncode: int | None = None
    self._pid = os.fork()
    if self._pid == 0:
      os.dup2(out.fileno(), 1)
      os.dup2(err.fileno(), 2)
      os._exit(lib.run("main.py", args))

  def poll(self) -> int | None:
    if self.returncode is None:
      pid, status = os.waitpid(self._pid, os.WNOHANG)
      if pid:
        self.returncode = os.waitstatus_to_exitcode(status)
    return self.returncode

  def wait(self, timeout: float | None = None) -> None:
    end = time.monotonic() + (timeout or together.PATIENCE)
    while self.poll() is None:
      if time.monotonic() > end:
        raise subprocess.TimeoutExpired("main.py", timeout or 0)
      time.sleep(0.01)

  def send_signal(self, number: int) -> None:
    if self.poll() is None:
      os.kill(self._pid, number)


class _Group(together.Group):
  def _start(self, command: Sequence[str], out: IO[str], err: IO[str]) -> Any:
    if command[0] != "main.py":
      return super()._start(command, out, err)
    return _Forked(command[1:], out, err)


def _gap(workdir: pathlib.Path, other: pathlib.Path) -> float:
  """As `together.gap`, in another process: JAX has threads that none copies."""
  code = "import pathlib, sys; from tests import together; print(together.gap("
  code += "*map(pathlib.Path, sys.argv[1:])))"
  done = lib.end(lib.start("-c", code, str(workdir), str(other)))
  return float(done.out or "nan")


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  # Behind `&` and `nohup`, programs would ignore them.
  for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
  alone = {}
  for count in NUM_KILLS:
    whole = folder / f"whole-{count}"
    seconds, fault = _alone(whole, count)
    alone[count] = whole, seconds
    yield Trial("a run to compare with", f"{seconds:.0f} s", fault)
  for what, numbers in (("SIGKILL", NUM_KILLS), ("signal", NUM_STOPS)):
    for count, (whole, seconds) in alone.items():
      yield from _interrupted(
        folder, chance, what, numbers[count], whole, seconds, count
      )
  yield from _failures(folder)
  yield from _equal(folder)


def _equal(folder: pathlib.Path) -> Iterator[Trial]:
  """Trains each config by one process on two devices, and by two."""
  data = folder / "data"
  tfds_fixtures.write_imagenet(data, num_train=26, num_test=7)
  script = ["-m", "tests.trains"]
  for name, (config, fields) in EQUAL.items():
    outcomes = {}
    for who in ("one", "two"):
      workdir = folder / who / name.replace("`", "")
      text = json.dumps(
        [
          {
            "config": config,
            "fields": fields,
            "workdir": str(workdir),
            "data_dir": str(data),
          }
        ]
      ).replace("FIRST", str(folder / "one" / "MLP"))
      path = folder / f"{who}.json"
      path.write_text(text)
      if who == "one":
        devices = "--xla_force_host_platform_device_count=2"
        done = lib.end(lib.start(*script, str(path), XLA_FLAGS=devices))
        fault = done.err[-300:] if done.code else ""
      else:
        group = together.Group(
          [str(path)], commands=dict.fromkeys((0, 1), script)
        )
        codes, _ = group.end()
        fault = fault or "" if codes == [0, 0] else group.text(0, 2)[-300:]
      outcomes[who] = workdir
    gap = float("nan") if fault else _gap(*outcomes.values())
    if not fault and not gap <= LIMIT:
      fault = f"they differ by {gap}"
    yield Trial("equal numbers", f"{name}: largest difference {gap}", fault)


def _failures(folder: pathlib.Path) -> Iterator[Trial]:
  for what, (code, text) in FAILURES.items():
    for count, index in ((2, 0), (2, 1), (3, 1)):
      workdir = folder / "failed"
      shutil.rmtree(workdir, ignore_errors=True)
      group = _Group(
        (*SMALL, f"--workdir={workdir}"),
        count,
        {index: ["-c", together.FAULT, what, "50"]},
      )
      group.wait_for("step 48/")
      codes, seconds = group.end()
      fault = _late(seconds, END["failure"])
      if codes != [code] * count:
        fault = fault or f"exit codes {codes}"
      for i in range(count):
        told = f"error: process {index} failed: "
        lines = [x for x in group.text(i, 2).splitlines() if told in x]
        if i != index and not (len(lines) == 1 and text in lines[0]):
          fault = fault or f"{i} says {group.text(i, 2)[-300:]!r}"
      place = f"in {index} of {count}: {seconds:.1f} s"
      yield Trial(f"`{what}`", f"{what} {place}", fault)


def _alone(whole: pathlib.Path, count: int) -> tuple[float, str]:
  """Trains a run that nobody disturbs; returns how long after its start."""
  group = _Group((*LONG, f"--workdir={whole}"), count)
  group.wait_for_all()
  start = time.monotonic()
  codes, _ = group.end()
  fault = "" if not any(codes) else group.text(0, 2)[-300:]
  return time.monotonic() - start, fault


def _interrupted(
  folder: pathlib.Path,
  chance: random.Random,
  what: str,
  number: int,
  whole: pathlib.Path,
  seconds: float,
  count: int,
) -> Iterator[Trial]:
  """Kills, or stops, one process at random, until the run is over."""
  done = 0
  while done < number:
    workdir = folder / "interrupted"
    shutil.rmtree(workdir, ignore_errors=True)
    args = (*LONG, f"--workdir={workdir}")
    for _ in range(chance.randint(3, MAX_IN_A_ROW)):
      group = _Group(args, count)
      group.wait_for_all()
      delay = chance.uniform(0, seconds)
      time.sleep(delay)
      index = chance.randrange(count)
      if any(p.poll() is not None for p in group.processes):
        group.end()
        break  # It was over.
      send = signal.SIGKILL if what == "SIGKILL" else chance.choice(STOPS)
      group.send(index, send)
      codes, took = group.end()
      if 0 in codes and what == "signal":
        continue  # It came after the last step.
      fault = _late(took, END[what])
      fault = fault or _told(group, codes, index, send)
      done += 1
      moment = f"{send.name} to {index} after {delay:.1f} s: {took:.1f} s"
      yield Trial(f"{what} to process {index} of {count}", moment, fault)
    group = _Group(args, count)
    codes, _ = group.end()
    fault = "" if not any(codes) else group.text(0, 2)[-300:]
    if not fault and (gap := _gap(workdir, whole)):
      fault = f"it differs by {gap}"
    yield Trial(f"the run after each {what}", str(workdir), fault)


def _late(seconds: float, limit: float) -> str:
  return f"they ended after {seconds:.1f} s" if seconds > limit else ""


def _told(
  group: together.Group, codes: Sequence[int], index: int, number: int
) -> str:
  """Returns what is wrong with how the processes ended; '': nothing."""
  if number != signal.SIGKILL:
    if codes != [-number] * len(codes):
      return f"exit codes {codes}: {group.text(0, 2)[-300:]!r}"
    return "" if "stopped" in group.text(0) else "it does not say so"
  for i, code in enumerate(codes):
    if i == index:
      continue
    if code != 1:
      return f"{i} has exit code {code}: {group.text(i, 2)[-300:]!r}"
    if f"error: process {index} has gone" not in group.text(i, 2):
      return f"{i} says {group.text(i, 2)[-300:]!r}"
  return ""
