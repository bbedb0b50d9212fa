"""A trained run is used without its data."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from analysis import trained
import data
from data import dataset as dataset_lib
from data import graphs
from data import task
from run_folder import checkpoints
from run_folder import files
from tests import entrance
from tests import helpers
import train

NUM_STEPS = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """A ResNet alone, and a pruned sweep of MLPs; the config, and the folder."""
  shared = {"batch_size": 16, "num_train_steps": NUM_STEPS}
  alone = helpers.config(
    **shared, model="resnet18", num_filters=2, blocks_per_stage=1
  )
  swept = helpers.config(
    **shared, num_neurons=(4,), pruner="random", sparsity=0.5
  )
  swept.sweep.seed = (0, 1)
  made = {}
  for name, config in (("alone", alone), ("sweep", swept)):
    path = tmp_path_factory.mktemp(name)
    train.train_and_evaluate(config, str(path))
    made[name] = config, path
  return made


@pytest.fixture
def no_data(monkeypatch):
  """No data set can be read."""
  monkeypatch.setattr(data, "load_runs", None)
  monkeypatch.setattr(data, "load", None)


def accuracy(run, config):
  split = data.load(config).splits["test"]
  found = run.predict(split.inputs).argmax(-1)
  return np.mean(found == split.targets)


def test_it_predicts_what_was_evaluated(folders):
  config, path = folders["alone"]
  run = trained.load(path)
  assert (run.step, run.config.num_filters) == (NUM_STEPS, 2)
  assert run.weights.keys() == {"params", "model_state"}
  final = files.read_runs(path)[0]["final"]
  assert accuracy(run, config) == pytest.approx(final["test_accuracy"])


def test_a_run_of_a_sweep(folders):
  config, path = folders["sweep"]
  for seed, record in enumerate(files.read_runs(path)):
    run = trained.load(path, run=f"seed={seed}")
    assert run.config.seed == seed
    kernel = run.weights["params"]["Dense_0"]["kernel"]
    assert isinstance(kernel, np.ndarray)
    assert (kernel == 0).mean() == 0.5
    final = record["final"]["test_accuracy"]
    assert accuracy(run, config) == pytest.approx(final)


def test_no_data_set_is_read(folders, no_data):
  run = trained.load(folders["alone"][1], str(NUM_STEPS))
  images = np.zeros((600, 8, 8, 1), np.uint8)  # More than a batch.
  outputs = run.predict(images)
  assert outputs.shape == (600, 10)
  plain = run.model.apply(run.variables, images[:1] / 16.0, train=False)
  np.testing.assert_allclose(outputs[:1], plain, rtol=1e-5)


def test_what_is_refused(folders, no_data):
  _, path = folders["sweep"]
  with pytest.raises(files.RunError, match="no run ''; must be one of seed=0"):
    trained.load(path)
  with pytest.raises(checkpoints.CheckpointError, match="no checkpoint '3'"):
    trained.load(path, "3", run="seed=0")
  run = trained.load(path, run="seed=0")
  with pytest.raises(files.RunError, match=r"\(2, 8, 8\); must be \[N, 8, 8,"):
    run.predict(np.zeros((2, 8, 8)))
  with pytest.raises(files.RunError, match="not a run folder"):
    trained.load(path / "nowhere")


@pytest.fixture
def changed(folders, tmp_path):
  """Changes what config.json says of the data set."""
  _, path = folders["alone"]
  for file in path.iterdir():
    (tmp_path / file.name).symlink_to(file)

  def change(known):
    content = json.loads((path / files.CONFIG).read_text())
    del content["task"]
    if known is not None:
      content["task"] = known
    (tmp_path / files.CONFIG).unlink()
    (tmp_path / files.CONFIG).write_text(json.dumps(content))
    return tmp_path

  return change


@pytest.mark.parametrize("known", [[], {}, {"name": 3}, "x"])
def test_a_damaged_file(changed, no_data, known):
  with pytest.raises(files.RunError, match="task: cannot be used"):
    trained.load(changed(known))


def test_a_folder_that_does_not_know(folders, changed):
  """An older one: the data set says what it was."""
  run = trained.load(changed(None))
  assert run.task == task.of(data.load(folders["alone"][0]))


def test_weights_of_float64(folders, tmp_path):
  config = helpers.config(
    dtype="float64", num_neurons=(2,), num_train_steps=1, batch_size=16
  )
  with jax.enable_x64(True):
    train.train_and_evaluate(config, str(tmp_path))
    run = trained.load(tmp_path)
    outputs = run.predict(np.zeros((1, 8, 8, 1)))
  assert outputs.dtype == np.float64
  with pytest.raises(files.RunError, match="jax_enable_x64"):
    trained.load(tmp_path)


NORMALIZERS = [
  dataset_lib.identity,
  dataset_lib.token_ids,
  dataset_lib.Scaled(16),
  dataset_lib.Scaled(255, (0.1, 0.2), (0.3, 0.4)),
  graphs.Layout(5, 7, 2).unpack,
]


@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_facts_are_written_and_read(normalize):
  own = dataset_lib.Dataset(
    name="mine",
    splits={},
    input_shape=(3, 2),
    num_outputs=4,
    num_classes=None,
    padding=0,
    normalize=normalize,
  )
  known = task.of(own)
  assert known.normalize == normalize
  record = json.loads(json.dumps(task.to_json(known)))
  again = task.from_json(record)
  assert task.to_json(again) == task.to_json(known)
  assert type(again.normalize) is type(normalize)


def test_a_function_of_ones_own_is_no_fact():
  own = dataset_lib.Dataset("mine", {}, (3,), 4, 4, normalize=lambda x: x)
  assert task.of(own).normalize is None


PROGRAM = """
import sys
import numpy as np
from analysis import trained

run = trained.load(sys.argv[1])
print(run.predict(np.zeros((3, 8, 8, 1), np.uint8)).shape, run.config.model)
"""


def test_from_another_folder(folders, tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, str(folders["alone"][1])],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(entrance.ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.stdout == "(3, 10) resnet18\n", done.stderr
