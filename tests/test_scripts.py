"""How the shell scripts end when one of their programs does."""

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


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_job_of_a_study_does_its_cell(tmp_path, task):
  fake = tmp_path / "python"
  fake.write_text(
    '#!/bin/bash\ncase "$*" in\n*"--data_dir=d --list") printf "a\\nb\\n";;\n'
    '*) echo "$*"\nesac'
  )
  fake.chmod(0o755)
  done = subprocess.run(
    ["bash", str(ROOT / "scripts" / "slurm_study.sh"), "--data_dir=d"],
    env=os.environ
    | {"PYTHON": str(fake), "SLURM_ARRAY_TASK_ID": str(task), "PRESET": "p"},
    capture_output=True,
    text=True,
  )
  if task == 2:
    assert done.returncode == 1
    assert "there is no such cell" in done.stderr
    return
  flags = "--study=studies/width.py --preset=p"
  cell = ("a", "b")[task]
  assert done.stdout == f"study.py {flags} --cell={cell} --data_dir=d\n"


# --- gpu.sh -------------------------------------------------------------------

PARTS = ["tests", "accelerator", "sweep", "step_time"]


def begun(out: str) -> list[str]:
  return [x.split()[1] for x in out.splitlines() if "(at most" in x]


@pytest.mark.parametrize(
  ("end", "code", "failed"),
  [
    ("true", 0, []),
    ('[ "$2" != pytest ]', 1, ["tests (exit code 1)"]),
    (
      '[ "$2" != benchmarks.sweep ] || kill -KILL $$; [ "$2" != pytest ]',
      1,
      ["tests (exit code 1)", "sweep (longer than 75 s)"],
    ),
  ],
)
def test_gpu_goes_on_after_a_part_that_failed(start, end, code, failed):
  script = start("gpu", end)
  out, _ = script.communicate(timeout=60)
  assert (script.returncode, begun(out)) == (code, PARTS)
  lines = [x for x in out.splitlines() if x.startswith("failed: ")]
  assert lines == [f"failed: {x}" for x in failed]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_gpu_ends_with_all_that_it_started(start, number):
  script = start("gpu", "sleep 600 & echo begun; wait", "trap exit TERM")
  lines = [script.stdout.readline() for _ in range(3)]
  assert lines == ["== tests (at most 85 s)\n", "-m\n", "begun\n"]
  script.send_signal(number)
  out, _ = script.communicate(timeout=60)  # Until nobody holds the output.
  assert (script.returncode, out) == (-number, "")
