"""Signals, closed outputs and shell loops, on programs that import nothing."""

import ast
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Says when it begins; ROUNDS is what native code computes without a look at
# Python, half a minute and more.
START = """
import hashlib, sys, time
from program import signals
ROUNDS = 10**8
stop = signals.STOP
def native():
  hashlib.pbkdf2_hmac("sha256", b"", b"", ROUNDS)
def main():
  print("begun", flush=True)
"""
NATIVE = f"""{START}
  native()
signals.run(main)
"""
HOLDS = f"""{START}
  saves = 0
  while not stop.number:
    saves += stop.take_save()
    time.sleep(0.01)
  if "hangs" in sys.argv:
    print("saving", flush=True)
    native()
  stop.release()
  print("saved", saves, flush=True)
  sys.exit(stop.exit_code)
stop.usr1_ends = "usr1_ends" in sys.argv
stop.hold()
signals.run(main)
"""
PRINTS = """
import os, sys, time
from program import signals
signals.STOP.arm()
first = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.close(first)
def main():
  for _ in range(100):
    print("line " * 1000, flush=True)
    print("line " * 1000, file=sys.stderr, flush=True)
  assert not sys.stdout.isatty()
  with open(sys.argv[1], "w") as file:
    file.write(str(first))
  print("left in the buffer")
signals.run(main)
"""
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
NOTHING = "stopped by {}: nothing was left to save\n"


def _start(code: str, *args: str, **options) -> subprocess.Popen:
  """Starts a program, and waits until it has begun."""
  process = subprocess.Popen(
    [sys.executable, "-c", code, *args],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **options,
  )
  assert process.stdout.readline() == "begun\n"
  return process


def _end(process: subprocess.Popen, number: int) -> tuple[int, str, str]:
  process.send_signal(number)
  out, err = process.communicate(timeout=60)
  return process.returncode, out, err


@pytest.mark.parametrize("number", ENDING)
def test_ends_at_once_in_native_code(number):
  assert _end(_start(NATIVE), number) == (
    -number,
    "",
    NOTHING.format(number.name),
  )


@pytest.mark.parametrize("number", ENDING)
def test_ends_by_the_signal_after_it_saved(number):
  assert _end(_start(HOLDS), number) == (-number, "saved 0\n", "")


def test_the_second_signal_does_not_wait():
  process = _start(HOLDS, "hangs")
  process.send_signal(signal.SIGTERM)
  assert process.stdout.readline() == "saving\n"
  assert _end(process, signal.SIGINT) == (
    -signal.SIGINT,
    "",
    "stopped by SIGINT: without saving\n",
  )


def test_saves_and_goes_on():
  process = _start(HOLDS)
  process.send_signal(signal.SIGUSR1)
  time.sleep(0.5)
  assert _end(process, signal.SIGINT) == (-signal.SIGINT, "saved 1\n", "")


def test_saves_and_ends():
  process = _start(HOLDS, "usr1_ends")
  assert _end(process, signal.SIGUSR1) == (-signal.SIGUSR1, "saved 0\n", "")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_is_ignored_stays_so(number):
  """A program inherits SIGHUP of `nohup`, and SIGINT of a script's `&`."""
  before = signal.signal(number, signal.SIG_IGN)
  try:
    process = _start(HOLDS)
  finally:
    signal.signal(number, before)
  process.send_signal(number)
  time.sleep(0.5)
  assert _end(process, signal.SIGTERM)[0] == -signal.SIGTERM


@pytest.mark.parametrize("code", [NATIVE, HOLDS], ids=["starts", "saves"])
def test_a_shell_loop_ends(code):
  loop = f"for i in 1 2; do '{sys.executable}' -c '{code}'; done; echo over"
  shell = subprocess.Popen(
    ["bash", "-c", loop],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    start_new_session=True,
  )
  assert shell.stdout.readline() == "begun\n"
  os.killpg(shell.pid, signal.SIGINT)  # As Ctrl-C in a terminal.
  out, _ = shell.communicate(timeout=60)
  assert shell.returncode == -signal.SIGINT
  assert "begun" not in out
  assert "over" not in out


@pytest.mark.parametrize(
  "outputs",
  [">&- 2>&-", ">&-", "2>&-", "| true", "2>&1 | head -c 9", ">/dev/full"],
)
def test_goes_on_where_nobody_reads(outputs, tmp_path):
  """Nor is a file opened in the place of a closed output."""
  file = tmp_path / "file"
  done = subprocess.run(
    [
      *("bash", "-c", f'set -o pipefail; "$@" {outputs}', "-"),
      *(sys.executable, "-c", PRINTS, str(file)),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 0
  assert "Traceback" not in done.stderr
  assert int(file.read_text()) > 2


@pytest.mark.parametrize(
  ("error", "lack"),
  [
    ("MemoryError('Unable to allocate 8. TiB')", "Unable to allocate 8. TiB"),
    ("RuntimeError('RESOURCE_EXHAUSTED: Out of memory.')", "Out of memory."),
  ],
)
def test_lack_of_memory_is_one_line(error, lack):
  code = f"""
from program import signals
def main():
  raise {error}
signals.run(main)
"""
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
  )
  assert (done.returncode, done.stdout) == (2, "")
  assert done.stderr == f"error: not enough memory ({lack})\n"


def test_every_program_acts_on_signals_before_slow_imports():
  folders = ".", "benchmarks", "scripts"
  paths = [p for folder in folders for p in ROOT.glob(f"{folder}/*.py")]
  sources = {p.name: p.read_text() for p in paths}
  programs = {
    name: source
    for name, source in sources.items()
    if '__name__ == "__main__"' in source
  }
  assert programs.keys() > {"main.py", "step_time.py", "claims.py"}
  for name, source in programs.items():
    _, first, second, *_ = map(ast.unparse, ast.parse(source).body)
    assert first == "from program import signals", name
    assert "signals.STOP.arm()" in second, name


def test_the_module_of_signals_is_light():
  code = "import program.signals, sys; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  loaded = set(done.stdout.split())
  assert not loaded & {"absl", "argparse", "ctypes", "logging", "numpy"}
