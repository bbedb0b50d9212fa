"""Every entrance prints its own lines alone, wherever it runs."""

import os
import pathlib
import subprocess
import sys

import pytest

from run_folder import files
from tests import entrance
from tests import tfds_fixtures

ROOT = pathlib.Path(__file__).parents[1]
# What may be found elsewhere, and makes libraries speak, or other programs.
ELSEWHERE = {
  # TensorFlow turns it on, and says so, where a processor has instructions for
  # it; with this, everywhere.
  "TF_ENABLE_ONEDNN_OPTS": "1",
  "HOME": os.devnull,  # No folder can be made in it, not even by root.
  "PYTHONWARNINGS": "error",
  "JAX_DEFAULT_PRNG_IMPL": "rbg",
  "JAX_ENABLE_X64": "1",
  "JAX_NUMPY_DTYPE_PROMOTION": "strict",
  "XLA_FLAGS": "",  # One device.
}
# These would stand for the home folder.
UNSET = (
  "JAX_COMPILATION_CACHE_DIR",
  "MPLCONFIGDIR",
  "XDG_CACHE_HOME",
  "XDG_CONFIG_HOME",
)
FIELDS = (
  "--config.num_neurons=(4,)",
  "--config.num_epochs=1",
  "--config.validation_fraction=0",
)
# study.py with a study of four small runs; its own have hundreds.
STUDY = """
from absl import app
from program import signals
import study
from tests import test_study
study.load = lambda path: test_study.STUDY
signals.run(lambda: app.run(study.main, flags_parser=study.parse_flags))
"""
NUMBERS = """
from program import jax_setup
from program import signals
def main():
  jax_setup.set_up(float64=False)
  import jax
  print(jax.random.key(0).dtype, jax.numpy.ones(()).dtype)
signals.run(main)
"""


def _start(*args, **env: str) -> subprocess.CompletedProcess:
  here = {k: v for k, v in os.environ.items() if k not in UNSET}
  return subprocess.run(
    [sys.executable, *map(str, args)],
    cwd=ROOT,
    env=here | ELSEWHERE | env,
    capture_output=True,
    text=True,
    timeout=entrance.PATIENCE,
  )


def _lines(*args) -> list[str]:
  """Returns what a program prints to stdout; it must print nothing else."""
  done = _start(*args)
  assert (done.returncode, done.stderr) == (0, "")
  return done.stdout.splitlines()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Holds MNIST as TFDS writes it, but small."""
  folder = tmp_path_factory.mktemp("tfds")
  tfds_fixtures.write("mnist", folder, num_train=200, num_test=20)
  return folder


@pytest.fixture(scope="module")
def workdir(data_dir, tmp_path_factory):
  """The folder of a run on MNIST, with TensorBoard's events."""
  folder = tmp_path_factory.mktemp("run")
  lines = _lines(
    "main.py",
    "--config=configs/mlp_mnist.py",
    *FIELDS,
    f"--workdir={folder}",
    f"--data_dir={data_dir}",
  )
  starts = [
    f"run folder: {folder}",
    "mnist: ",
    "mlp: ",
    "step 1/",
    "finished: ",
  ]
  assert len(lines) == len(starts)
  assert all(map(str.startswith, lines, starts))
  assert list(folder.glob("events.out.tfevents.*"))
  return folder


def test_trains_where_nobody_reads(tmp_path):
  """The reader goes after the first character; stderr is closed."""
  command = 'set -o pipefail; "$@" 2>&- | head -c 1'
  done = subprocess.run(
    [
      *("bash", "-c", command, "-", sys.executable, "main.py"),
      "--config=configs/mlp_digits.py",
      *FIELDS,
      f"--workdir={tmp_path}",
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=entrance.PATIENCE,
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, "r", "")
  assert files.read_runs(tmp_path)[0]["status"] == "finished"


def test_evaluation(workdir, data_dir):
  flags = (f"--workdir={workdir}", f"--data_dir={data_dir}")
  (line,) = _lines("main.py", "--mode=eval", *flags)
  assert line.startswith('{"step": ')


def test_sharpness_report(workdir, data_dir):
  flags = (f"--workdir={workdir}", f"--data_dir={data_dir}")
  first, *numbers = _lines("sharpness_report.py", *flags, "--measures=loss")
  assert first.startswith(f"{workdir}, step ")
  assert all(line.startswith("  ") for line in numbers)


def test_report(workdir):
  assert _lines("report.py", workdir)


def test_study(tmp_path):
  first, *_ = _lines(
    "-c", STUDY, "--study=tiny", "--preset=tiny", f"--workdir={tmp_path}"
  )
  assert first == f"study folder: {tmp_path}"
  assert list(tmp_path.glob("cells/*/*/events.out.tfevents.*"))


def test_numbers_are_the_same_in_every_shell():
  assert _lines("-c", NUMBERS) == ["key<fry> float32"]


def test_devices_that_are_not_there():
  flags = ("--config=configs/mlp_digits.py", "--workdir=unused")
  done = _start("main.py", *flags, JAX_PLATFORMS="abacus")
  (line,) = done.stderr.splitlines()
  assert (done.returncode, done.stdout) == (2, "")
  assert line.startswith("error: JAX finds no device (")
  assert "abacus" in line
