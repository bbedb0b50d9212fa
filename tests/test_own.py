"""What the pages say of one's own data and model is run as it stands there."""

import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
from PIL import Image
import pytest

from configs import base
import data
from run_folder import files
from tests import entrance

ROOT = entrance.ROOT


def section(page: str, heading: str) -> str:
  """Returns the text below a heading, up to the next of its level."""
  text = (ROOT / page).read_text()
  level = heading.split()[0]
  body = text.partition(f"\n{heading}\n")[2]
  return re.split(rf"\n{level} ", body)[0]


def blocks(text: str, language: str) -> list[str]:
  return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# --- README -------------------------------------------------------------------


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
  """Runs the commands of the section, in a folder with what they name."""
  folder = tmp_path_factory.mktemp("newcomer")
  for name in ("main.py", "report.py", "configs"):
    (folder / name).symlink_to(ROOT / name)
  commands = blocks(section("README.md", "## Your own data and model"), "sh")
  assert len(commands) == 2
  bin_folder = pathlib.Path(sys.executable).parent
  done = subprocess.run(
    ["bash", "-euc", "\n".join(commands)],
    cwd=folder,
    env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
    capture_output=True,
    text=True,
    timeout=entrance.PATIENCE,
  )
  assert done.returncode == 0, done.stderr
  return folder, done.stdout


def test_the_newcomers_runs(newcomer):
  folder, out = newcomer
  workdirs = sorted((folder / "runs").iterdir())
  assert [w.name.split("-")[1] for w in workdirs] == [
    "mlp",
    "my_model.py_Net",
    "my_model.py_Net",
  ]
  for workdir in workdirs:
    for run in files.read_runs(workdir):
      assert run["final"]["test_accuracy"] > 0.7  # Of three classes.
  assert "model_args.width" in out
  assert ", SAM over sgd, paired by seed" in out


# --- docs/run_folder.md -------------------------------------------------------


def test_predictions_from_another_folder(newcomer, tmp_path):
  """Where the data set is gone."""
  folder, _ = newcomer
  workdir = next((folder / "runs").glob("npz-mlp*"))
  arrays = dict(np.load(folder / "my_data.npz"))
  (folder / "my_data.npz").rename(folder / "gone.npz")
  (block,) = blocks(section("docs/run_folder.md", "## Read it"), "python")
  program = tmp_path / "predict.py"
  np.save(tmp_path / "images.npy", arrays["x_test"])
  program.write_text(
    "import numpy as np\n"
    'images = np.load("images.npy")\n'
    + block.replace("runs/NAME", str(workdir))
    + 'np.save("logits.npy", logits)\n'
  )
  try:
    done = subprocess.run(
      [sys.executable, str(program)],
      cwd=tmp_path,
      env=os.environ | {"PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )
  finally:
    (folder / "gone.npz").rename(folder / "my_data.npz")
  assert (done.returncode, done.stderr) == (0, "")
  assert done.stdout.startswith("mlp ")
  found = np.load(tmp_path / "logits.npy").argmax(1)
  (run,) = files.read_runs(workdir)
  accuracy = np.mean(found == arrays["y_test"])
  assert accuracy == pytest.approx(run["final"]["test_accuracy"])


# --- docs/library.md --------------------------------------------------------


def test_the_loop_from_another_folder(newcomer, tmp_path):
  folder, _ = newcomer
  (block,) = blocks(section("docs/library.md", "## The whole loop"), "py")
  assert len([line for line in block.splitlines() if line]) <= 20
  (tmp_path / "loop.py").write_text(block)
  (tmp_path / "my_model.py").write_bytes((folder / "my_model.py").read_bytes())
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "__init__.py").write_text("raise ImportError('mine')")
  done = subprocess.run(
    [sys.executable, "-P", "loop.py"],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert float(done.stdout.split()[-1]) > 0.7
  assert (tmp_path / "runs" / "mine" / "result.json").exists()


# --- docs/data.md -------------------------------------------------------------

NUMPY, TORCHVISION, HUGGING_FACE, FOLDER = blocks(
  section("docs/data.md", "## Your own arrays"), "python"
)


def make(block: str, folder, monkeypatch) -> data.Dataset:
  """Runs a snippet of at most eight lines, and loads what it writes."""
  lines = [line for line in block.splitlines() if line]
  assert len(lines) <= 8
  monkeypatch.chdir(folder)
  exec(compile(block, "snippet", "exec"), {})
  config = base.get_config()
  config.update({"dataset": "npz", "data_file": "my_data.npz"})
  return data.load(config)


def test_from_numpy(tmp_path, monkeypatch):
  mine = make(NUMPY, tmp_path, monkeypatch)
  assert (mine.input_shape, mine.num_classes) == ((8, 8, 1), 2)
  assert mine.splits["train"].num_examples == 400


def images(size, *shape):
  return np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)


def test_from_torchvision(tmp_path, monkeypatch):
  """Its data sets have `data` and `targets`, a list."""

  def cifar10(root, *, train, download):
    assert (root, download) == ("data", True)
    size = 20 if train else 10
    return types.SimpleNamespace(
      data=images(size, 32, 32, 3), targets=[i % 10 for i in range(size)]
    )

  torchvision = types.ModuleType("torchvision.datasets")
  torchvision.CIFAR10 = cifar10
  monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("t"))
  monkeypatch.setitem(sys.modules, "torchvision.datasets", torchvision)
  mine = make(TORCHVISION, tmp_path, monkeypatch)
  assert (mine.input_shape, mine.num_classes) == ((32, 32, 3), 10)
  assert mine.splits["test"].num_examples == 10


def test_from_hugging_face(tmp_path, monkeypatch):
  """Its columns are lists of PIL images and of numbers."""

  def load_dataset(name):
    assert name == "ylecun/mnist"
    return {
      split: {
        "image": [Image.fromarray(x) for x in images(size, 28, 28)],
        "label": [i % 10 for i in range(size)],
      }
      for split, size in (("train", 20), ("test", 10))
    }

  hugging_face = types.ModuleType("datasets")
  hugging_face.load_dataset = load_dataset
  monkeypatch.setitem(sys.modules, "datasets", hugging_face)
  mine = make(HUGGING_FACE, tmp_path, monkeypatch)
  assert (mine.input_shape, mine.num_classes) == ((28, 28, 1), 10)
  np.testing.assert_array_equal(
    mine.splits["train"].inputs[..., 0], images(20, 28, 28)
  )


def test_from_a_folder(tmp_path, monkeypatch):
  for split, size in (("train", 4), ("test", 2)):
    for name in ("cat", "dog"):
      folder = tmp_path / "images" / split / name
      folder.mkdir(parents=True)
      for i, image in enumerate(images(size, 40, 30, 3)):
        Image.fromarray(image).save(folder / f"{i}.png")
  mine = make(FOLDER, tmp_path, monkeypatch)
  assert (mine.input_shape, mine.num_classes) == ((40, 30, 3), 2)
  assert mine.splits["train"].targets.tolist() == [0] * 4 + [1] * 4
