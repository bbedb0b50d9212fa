"""How the shell loops end when one of their programs does."""

import os
import pathlib
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LOOPS = ("seeds", "sparsity_sweep", "width_sweep")
# Stands for Python; says that it runs, and ends in the way of $END.
FAKE = '#!/bin/bash\n$BEGIN\necho "$1"\neval "$END"\n'


@pytest.fixture
def start(tmp_path):
  """Starts a script whose programs end in the same way."""
  fake = tmp_path / "python"
  fake.write_text(FAKE)
  fake.chmod(0o755)

  def start_(script: str, end: str, begin: str = "") -> subprocess.Popen:
    return subprocess.Popen(
      ["bash", str(ROOT / "scripts" / f"{script}.sh")],
      env=os.environ
      | {"PYTHON": str(fake), "BEGIN": begin, "END": end, "SEEDS": "0 1"},
      stdout=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )

  return start_


@pytest.mark.parametrize("script", LOOPS)
@pytest.mark.parametrize(
  ("end", "code"),
  [("kill -INT $$", 130), ("kill -TERM $$", 143), ("exit 2", 2)],
)
def test_ends_with_the_code_of_its_first_program(start, script, end, code):
  loop = start(script, end)
  out, _ = loop.communicate(timeout=60)
  assert (loop.returncode, out) == (code, "main.py\n")


@pytest.mark.parametrize("script", LOOPS)
def test_goes_on_after_a_run_that_diverged(start, script):
  loop = start(script, '[ "$1" = report.py ] || exit 3')
  out, _ = loop.communicate(timeout=60)
  first, *others, last = out.splitlines()
  assert (loop.returncode, first, last) == (0, "main.py", "report.py")
  assert others == ["main.py"] * len(others) != []


@pytest.mark.parametrize("script", LOOPS)
def test_ends_by_ctrl_c(start, script):
  """The program saves first."""
  loop = start(
    script,
    "until [ $came ]; do sleep 0.1; done; echo saved; trap - INT; kill -INT $$",
    begin="trap came=yes INT",
  )
  assert loop.stdout.readline() == "main.py\n"
  os.killpg(loop.pid, signal.SIGINT)
  out, _ = loop.communicate(timeout=60)
  assert (loop.returncode, out) == (-signal.SIGINT, "saved\n")
