"""Arrays of one's own, from a file to what is read back of their runs."""

import json
import sys

import numpy as np
import pytest

from analysis import restored
from configs import base
from configs import errors
import data
from data import npz
from data import pipeline
from program import signals
import report
from run_folder import files
from run_folder import naming
import sharpness_report
from studies.kit import grids
from studies.kit import work
from studies.kit.study import Study
import train

NUM_TRAIN, NUM_TEST = 96, 40


def arrays(**changes):
  """Returns images of three classes, told by their brightest row."""
  rng = np.random.default_rng(0)
  made = {}
  for split, size in (("train", NUM_TRAIN), ("test", NUM_TEST)):
    labels = np.arange(size) % 3
    images = rng.integers(0, 100, (size, 6, 6, 3), dtype=np.uint8)
    images[np.arange(size), 2 * labels] += 100
    made |= {f"x_{split}": images, f"y_{split}": labels}
  return {n: x for n, x in (made | changes).items() if x is not None}


@pytest.fixture
def load(tmp_path):
  """Writes arrays and loads them."""

  def load_(contents, **fields):
    path = tmp_path / "mine.npz"
    np.savez(path, **contents)
    config = base.get_config()
    config.update({"dataset": "npz", "data_file": str(path), **fields})
    base.check(config)
    return data.load(config)

  return load_


def refusal(load, contents, **fields):
  """Returns the line, less what names the file."""
  with pytest.raises(errors.UserError) as e:
    load(contents, **fields)
  text = str(e.value)
  assert "mine.npz'" in text
  assert "\n" not in text
  return text.partition("mine.npz': ")[2] or text


# --- what is read -------------------------------------------------------------


def test_images(load):
  contents = arrays(y_train=arrays()["y_train"][:, None].astype(np.uint8))
  mine = load(contents)
  assert list(mine.splits) == ["train", "test"]
  assert mine.input_shape == (6, 6, 3)
  assert mine.num_outputs == mine.num_classes == 3
  train_split = mine.splits["train"]
  np.testing.assert_array_equal(train_split.inputs, contents["x_train"])
  np.testing.assert_array_equal(train_split.targets, np.arange(NUM_TRAIN) % 3)
  assert train_split.targets.dtype == np.int32


def test_grey_images_gain_a_channel(load):
  grey = {n: x[..., 0] if n[0] == "x" else x for n, x in arrays().items()}
  assert load(grey).input_shape == (6, 6, 1)


def test_its_own_validation_split(load):
  contents = arrays()
  mine = load(
    contents | {"x_val": contents["x_test"][:9], "y_val": np.arange(9) % 3},
    train_fraction=0.5,
  )
  sizes = {n: s.num_examples for n, s in mine.splits.items()}
  assert sizes == {"train": 48, "validation": 9, "test": 40}


def test_real_targets(load):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(20, 4)), rng.normal(size=20)
  contents = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
  mine = load(contents, loss="squared_error")
  assert (mine.input_shape, mine.num_outputs, mine.num_classes) == (
    (4,),
    1,
    None,
  )
  targets = mine.splits["train"].targets
  np.testing.assert_array_equal(targets, y[:, None].astype(np.float32))
  double = load(contents, loss="squared_error", dtype="float64")
  np.testing.assert_array_equal(double.splits["train"].inputs, x)


def test_normalization(load):
  pixels = np.array([[[[0, 7]], [[4, 7]]]] * 2, np.uint8)  # [2, 2, 1, 2]
  contents = {"x_train": pixels, "y_train": np.arange(2)}
  contents |= {"x_test": pixels, "y_test": np.arange(2)}

  def normalized(**fields):
    mine = load(contents, **fields)
    return np.asarray(mine.normalize(pixels[:1])).ravel()

  expected = np.array([0, 7, 4, 7], np.float32)
  np.testing.assert_array_equal(normalized(), expected / 255)
  np.testing.assert_array_equal(normalized(normalize="none"), expected)
  # The first channel has mean 2 and standard deviation 2; the other is 7.
  np.testing.assert_array_equal(
    normalized(normalize="standardize"), [-1, 0, 1, 0]
  )
  contents |= {n: x.astype(float) for n, x in contents.items() if n[0] == "x"}
  np.testing.assert_array_equal(normalized(), expected)
  np.testing.assert_array_equal(normalized(normalize="255"), expected / 255)


def test_a_constant_channel_whose_mean_is_rounded(load):
  x = np.full((100, 2), 0.1)  # Their mean is 0.0999...98.
  x[:, 1] += np.arange(100)
  mine = load(
    vectors(np.arange(100) % 2) | {"x_train": x, "x_test": x},
    normalize="standardize",
    dtype="float64",
  )
  assert mine.normalize.std[0] == 1
  assert mine.normalize.std[1] == pytest.approx(np.arange(100).std())


def test_what_float32_cannot_tell_apart(load):
  """For instance times in seconds, of one day."""
  x = np.stack([np.arange(20), 1.6e9 + 60 * np.arange(20)], 1)
  contents = vectors(np.arange(20) % 2) | {"x_train": x, "x_test": x}
  line = refusal(load, contents, normalize="standardize")
  assert line.startswith("channel 1 of x_train is 1.600001e+09 +- 3.")
  exact = load(contents, normalize="standardize", dtype="float64").normalize
  assert exact.std[1] == pytest.approx(60 * np.arange(20).std())


def test_statistics_are_those_of_all_training_examples(load, monkeypatch):
  """Else runs of a sweep, which share them, would differ from runs alone."""
  monkeypatch.setattr(npz, "CHUNK", 7)
  contents = arrays()
  pixels = contents["x_train"].reshape(-1, 3).astype(float)
  for seed in (0, 1):
    mine = load(
      contents, normalize="standardize", validation_fraction=0.5, data_seed=seed
    )
    np.testing.assert_allclose(mine.normalize.mean, pixels.mean(0))
    np.testing.assert_allclose(mine.normalize.std, pixels.std(0))


def test_augmentation(load):
  keys = np.zeros((1, 2), np.uint32)
  image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
  seen = {True: set(), False: set()}
  for mirror in seen:
    augment = load(arrays(), augment=True, mirror_symmetry=mirror).augment
    for seed in range(40):
      keys = np.array([[0, seed]], np.uint32)
      seen[mirror].add(np.asarray(augment(keys, image)).tobytes())
  # Nine crops with a padding of one pixel, and their mirror images.
  assert 6 <= len(seen[False]) <= 9 < len(seen[True])


WRONG = {
  "no y": (
    arrays(y_test=None),
    "has no array 'y_test', but x_train, y_train, ",
  ),
  "misspelt": (arrays(x_valid=np.zeros(3)), "has an array 'x_valid'; must be"),
  "half a split": (arrays(x_val=np.zeros(3)), "has no array 'y_val', but "),
  "objects": (
    arrays(x_train=np.array([{}], object)),
    "cannot be read as arrays of numbers (Object arrays cannot be loaded",
  ),
  "dtype": (arrays(x_train=np.zeros((3, 2), int)), "x_train is int64; must be"),
  "one axis": (arrays(x_train=np.zeros(3)), "x_train has shape (3,); must be"),
  "empty": (
    arrays(x_test=np.zeros((0, 6, 6, 3), np.uint8)),
    "x_test is empty, of shape (0, 6, 6, 3)",
  ),
  "other shape": (
    arrays(x_test=np.zeros((3, 5, 6, 3), np.uint8)),
    "x_test is uint8 (5, 6, 3) an example, and x_train uint8 (6, 6, 3)",
  ),
  "channels first": (
    arrays(x_train=np.zeros((3, 3, 6, 6)), x_test=np.zeros((3, 3, 6, 6))),
    "x_train has shape (3, 3, 6, 6); channels must come last",
  ),
  "NaN": (
    {
      n: np.where(np.arange(len(x)) == 5, np.nan, np.zeros((2, len(x)))).T
      if n[0] == "x"
      else x
      for n, x in arrays().items()
    },
    "x_train is not finite in 1 of 96 examples, the first of them 5",
  ),
  "lengths": (
    arrays(y_test=np.arange(3)),
    "x_test has 40 examples, and y_test 3",
  ),
  "texts": (
    arrays(y_train=np.array(["a"] * NUM_TRAIN)),
    "y_train is <U1; ",
  ),
  "one-hot": (
    arrays(y_train=np.eye(3, dtype=int)[np.arange(NUM_TRAIN) % 3]),
    "y_train has shape (96, 3); classes must be [N]",
  ),
  "from 1": (
    arrays(y_train=np.arange(NUM_TRAIN) % 3 + 1),
    "y_train has classes from 1 to 3; they must start from 0",
  ),
  "gap": (
    arrays(y_train=np.arange(NUM_TRAIN) % 3 * 2),
    "y_train has classes up to 4, but no example of class 1",
  ),
  "one class": (
    arrays(y_train=np.zeros(NUM_TRAIN, int)),
    "y_train has the classes [0] alone",
  ),
  "unknown class": (
    arrays(y_test=np.arange(NUM_TEST) % 4),
    "y_test has the class 3, and y_train 0 to 2",
  ),
  "mixed": (
    arrays(y_test=np.zeros(NUM_TEST)),
    "y_train is int64, y_test is float64; must be all",
  ),
}


@pytest.mark.parametrize(("contents", "line"), WRONG.values(), ids=WRONG)
def test_wrong_arrays(load, contents, line):
  assert refusal(load, contents).startswith(line)


@pytest.mark.parametrize(
  ("content", "line"),
  [
    (None, "there is no such file"),
    (b"x,y\n1,2\n", "cannot be read as arrays of numbers ("),
    (b"", "cannot be read as arrays of numbers ("),
  ],
)
def test_no_archive(tmp_path, content, line):
  path = tmp_path / "mine.npz"
  if content is not None:
    path.write_bytes(content)
  config = base.get_config()
  config.update({"dataset": "npz", "data_file": str(path)})
  with pytest.raises(data.DataError) as e:
    data.load(config)
  assert str(e.value).startswith(f"config.data_file={str(path)!r}: {line}")


def test_damaged_archive(load, tmp_path):
  load(arrays())
  path = tmp_path / "mine.npz"
  content = bytearray(path.read_bytes())
  content[2000] ^= 1
  path.write_bytes(content)
  config = base.get_config()
  config.update({"dataset": "npz", "data_file": str(path)})
  with pytest.raises(data.DataError, match="Bad CRC-32"):
    data.load(config)


def vectors(y):
  x = np.random.default_rng(0).normal(size=(len(y), 4))
  return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}


REAL, CLASSES = vectors(np.linspace(0, 1, 20)), vectors(np.arange(20) % 2)
MISFITS = [
  (REAL, {}, "loss='cross_entropy': must be 'squared_error' with"),
  (
    REAL,
    {"loss": "squared_error", "label_noise": 0.5},
    "label_noise=0.5: must be 0 with",
  ),
  (REAL, {"loss": "squared_error", "label_smoothing": 0.1}, "label_smoothing="),
  (REAL, {"loss": "squared_error", "lazy_alpha": 1.0}, "lazy_alpha=1.0: must"),
  (CLASSES, {"step_label_noise": 0.1}, "step_label_noise=0.1: must be 0"),
  (CLASSES, {"augment": True}, "augment=True: must be False"),
  (CLASSES, {"model": "resnet18"}, "model='resnet18': must be 'mlp' or"),
  (
    arrays(x_val=arrays()["x_test"], y_val=arrays()["y_test"]),
    {"validation_fraction": 0.5},
    "validation_fraction=0.5: must be 0",
  ),
]


@pytest.mark.parametrize(("contents", "fields", "line"), MISFITS)
def test_a_config_that_does_not_fit(load, contents, fields, line):
  assert refusal(load, contents, **fields).startswith(f"config.{line}")


def test_wrong_arrays_end_the_program(refused, tmp_path):
  np.savez(tmp_path / "mine.npz", **WRONG["from 1"][0])
  line = refused(
    f"--config={base.__file__}",
    "--config.dataset=npz",
    "--config.data_file=mine.npz",
    jax=True,
  )
  assert line.startswith(f"config.data_file='{tmp_path}/mine.npz': y_train has")


def test_the_name_of_a_run_states_the_file(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = base.get_config()
  config.update({"dataset": "npz", "data_file": "sub/mine.npz"})
  assert config.data_file == str(tmp_path / "sub" / "mine.npz")
  name = naming.run_name(config, ["data_file"])
  assert name.endswith("-seed0-data_file=sub_mine.npz")
  config.data_file = "/elsewhere/mine.npz"
  assert "data_file=_elsewhere_mine.npz" in naming.run_name(
    config, ["data_file"]
  )


# --- what is done with it -----------------------------------------------------


def sweep_fields(path):
  """Returns a small sweep with noise, masks and a validation split."""
  return {
    "dataset": "npz",
    "data_file": str(path),
    "num_neurons": (8,),
    "batch_size": 16,
    "num_epochs": 3,
    "normalize": "standardize",
    "augment": True,
    "validation_fraction": 0.25,
    "data_seed": -1,
    "label_noise": 0.2,
    "pruner": "magnitude",
    "sparsity": 0.5,
  }


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
  """Trains a study of one cell: SGD and SAM, two seeds."""
  folder = tmp_path_factory.mktemp("npz")
  np.savez(folder / "mine.npz", **arrays())
  grid = grids.Grid(
    workload="mlp_digits",
    metric="final_test_accuracy",
    shapes={"narrow": {}},
    sweep={"rho": (0.0, 0.1), "seed": (0, 1)},
    fields=sweep_fields(folder / "mine.npz"),
  )
  study = Study(
    paper="none",
    claim="none",
    presets={"laptop": (grid,)},
    claims=lambda results: [],
    figure=lambda results: None,
  )
  cells = study.cells("laptop")

  stop = signals.Stop()
  training = work.Training(study, cells, folder / "study", None, stop)
  training.plan()
  assert training.do() == 0
  return folder


@pytest.fixture
def workdir(study_folder):
  return study_folder / "study" / "cells" / "mlp_digits-narrow"


def test_a_study_trains_on_it(workdir):
  runs = files.read_runs(workdir)
  assert [run["status"] for run in runs] == ["finished"] * 4
  assert all(run["final"]["test_accuracy"] > 0.4 for run in runs)
  assert all("validation_accuracy" in run["final"] for run in runs)
  assert len({run["num_unpruned_parameters"] for run in runs}) == 1


def test_it_is_evaluated_and_resumed(workdir):
  evaluated = train.evaluate(str(workdir))
  for run, found in zip(files.read_runs(workdir), evaluated, strict=True):
    assert found["test_loss"] == pytest.approx(run["final"]["test_loss"])
  config = files.load_config(str(workdir))
  assert train.train_and_evaluate(config, str(workdir))["runs"]


def test_a_run_of_a_sweep_is_the_run_alone(workdir, tmp_path):
  config = files.load_config(str(workdir))
  alone = base.get_config()
  alone.update({n: v for n, v in config.items() if n != "sweep"})
  alone.update({"rho": 0.1, "seed": 1, "devices_per_run": 1})
  result = train.train_and_evaluate(alone, str(tmp_path))
  (ours,) = [
    r for r in files.read_runs(workdir) if r["run"] == "rho=0.1-seed=1"
  ]
  assert result["final"]["test_loss"] == pytest.approx(
    ours["final"]["test_loss"], abs=1e-5
  )


def test_its_sharpness_and_report(workdir, monkeypatch, capsys):
  arguments = ["--workdir", str(workdir), "--measures=lambda_max"]
  monkeypatch.setattr(sys, "argv", ["sharpness_report.py", *arguments])
  args = sharpness_report.parse_args()
  monkeypatch.setattr(sharpness_report.jax_setup, "set_up", lambda **_: None)
  monkeypatch.setattr(sharpness_report, "_write_scalars", lambda *_: None)
  sharpness_report.report(args)
  (run,) = [r for r in restored.load(workdir) if r.name == "rho=0.1-seed=1"]
  measured = json.loads((workdir / run.name / "sharpness.json").read_text())
  assert measured["lambda_max"] > 0
  monkeypatch.setattr(sys, "argv", ["report.py", str(workdir)])
  report.main()
  assert ", SAM over sgd, paired by seed" in capsys.readouterr().out


def test_a_regression_trains(tmp_path):
  x = np.random.default_rng(0).normal(size=(64, 3))
  y = x @ np.array([[1.0, 0], [2, 1], [0, -1]])
  contents = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
  np.savez(tmp_path / "mine.npz", **contents)
  config = base.get_config()
  config.update(
    {
      "dataset": "npz",
      "data_file": str(tmp_path / "mine.npz"),
      "loss": "squared_error",
      "num_neurons": (),
      "batch_size": 16,
      "num_epochs": 30,
      "learning_rate": 0.05,
    }
  )
  config.sweep.rho = (0.0, 0.01)
  result = train.train_and_evaluate(config, str(tmp_path / "run"))
  assert [r["final"]["test_loss"] < 1e-2 for r in result["runs"]] == [True] * 2

  # What is over is not taken for that of a file that has been rewritten.
  again = train.train_and_evaluate(config, str(tmp_path / "run"))
  assert again["runs"] == result["runs"]
  np.savez(tmp_path / "mine.npz", **contents | {"y_train": 2 * y})
  with pytest.raises(files.RunError, match="trained on other data"):
    train.train_and_evaluate(config, str(tmp_path / "run"))

  config.optimizer = "sgd"
  del config.sweep.rho
  config.sweep.label_noise = (0.0, 0.5)
  with pytest.raises(errors.ConfigError, match="which has real targets"):
    train.train_and_evaluate(config, str(tmp_path / "noisy"))


def test_the_order_is_that_of_the_seed(load):
  """As of every other data set: examples are drawn by (seed, epoch)."""
  split = load(arrays()).splits["train"]
  feed = pipeline.ResidentFeed(split, seed=3, batch_size=32, num_devices=1)
  orders = pipeline.EpochOrders(3, NUM_TRAIN)
  np.testing.assert_array_equal(feed.rest_of_epoch(0)[0], orders(0)[:32])
