"""Every entrance prints its own lines alone, wherever it runs."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import tfds_fixtures

ROOT = pathlib.Path(__file__).parents[1]
# TensorFlow turns oneDNN on, and says so, where a processor has instructions
# for it. With this it does so everywhere.
TALKATIVE = {"TF_ENABLE_ONEDNN_OPTS": "1"}
FIELDS = (
  "--config.num_neurons=(4,)",
  "--config.num_epochs=1",
  "--config.validation_fraction=0",
)
# study.py with a study of four small runs; its own have hundreds.
STUDY = """
from absl import app
import stopping
import study
from tests import test_study
test_study.STUDY.presets = {"tiny": ""}
study.load = lambda path: test_study.STUDY
stopping.run(lambda: app.run(study.main, flags_parser=study.parse_flags))
"""


def _lines(*args) -> list[str]:
  """Returns what a program prints to stdout; it must print nothing else."""
  done = subprocess.run(
    [sys.executable, *map(str, args)],
    cwd=ROOT,
    env=os.environ | TALKATIVE | {"XLA_FLAGS": ""},  # One device.
    capture_output=True,
    text=True,
    timeout=300,
  )
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
