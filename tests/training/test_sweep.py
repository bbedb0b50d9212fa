"""A run in a sweep is the same run alone."""

import itertools
import json
import pathlib

import jax
import numpy as np
import pytest

from configs import base
from configs import sweep as sweep_lib
import data
from run_folder import files
from run_folder import log
from run_folder import naming
from tests import helpers
import train
from training import setup as setup_lib
from training import trainer as trainer_lib

pytestmark = pytest.mark.usefixtures("short_resnets")

MLP = {"model": "mlp", "num_neurons": (16, 8)}
RESNET = {"model": "resnet18", "num_filters": 2}


def _config(sweep, **fields):
  c = helpers.config(
    **{
      "data_seed": -1,
      "validation_fraction": 0.2,
      "batch_size": 32,
      "momentum": 0.9,
      "weight_decay": 1e-3,
      "lr_scheduler": "constant",
    }
    | fields
  )
  c.sweep.update(sweep)
  base.check(c)
  return c


def _trainer(c, num_devices=2):
  setup = setup_lib.create(c, data.load_runs(sweep_lib.runs(c)))
  return trainer_lib.Trainer(setup, jax.devices()[:num_devices])


def _take(trainer, num_steps):
  while trainer.step < num_steps:
    trainer.call(num_steps - trainer.step)
  return [state.weights for state in _states(trainer)]


def _states(trainer):
  return [trainer.state(run) for run in range(len(trainer.setup.runs))]


def _runs_alone(c):
  """Returns the configs of the runs of a sweep; rho = 0 is plain SGD."""
  for run in sweep_lib.runs(c):
    fields = {k: v for k, v in run.items() if k != "sweep"}
    if not run.rho:
      fields["optimizer"] = "sgd"
    yield helpers.config(**fields)


def _largest_gap(some, others):
  return max(map(helpers.max_difference, some, others))


# --- the same numbers as alone ------------------------------------------------


@pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
def test_vmapped_runs_equal_runs_in_a_loop(model):
  """A run in a loop has the program of a run alone; see the next test."""
  sweep = {"seed": (0, 3), "rho": (0.0, 0.1, 0.5)}
  if model is RESNET:  # Which compiles for long.
    del sweep["seed"]

  def gap(num_steps, dtype):
    vmapped, looped = (
      _take(
        _trainer(_config(sweep, **model, dtype=dtype, sweep_mode=mode), 1),
        num_steps,
      )
      for mode in ("vmap", "loop")
    )
    return _largest_gap(vmapped, looped)

  assert gap(1, "float32") < 1e-6
  with jax.enable_x64():
    assert gap(50, "float64") < 1e-10


@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_runs_in_a_sweep_equal_runs_alone(mode):
  """Over two devices; in a loop, bit for bit."""
  sweep = {"seed": (0, 3), "rho": (0.0, 0.1, 0.5)}
  with jax.enable_x64():
    c = _config(sweep, **MLP, dtype="float64", sweep_mode=mode)
    together = _take(_trainer(c), 50)
    alone = [_take(_trainer(run, 1), 50)[0] for run in _runs_alone(c)]
  assert _largest_gap(together, alone) < (1e-10 if mode == "vmap" else 1e-300)


def test_every_field_that_can_be_swept():
  """Runs that differ in all of them equal themselves alone."""
  sweep = {
    "seed": (7,),
    "label_noise": (0.0, 0.3),
    "sparsity": (0.0, 0.5),
    "learning_rate": (0.1, 0.02),
    "weight_decay": (0.01,),
    "rho": (0.2, 0.0),
  }
  assert set(sweep) == set(sweep_lib.SWEPT)
  with jax.enable_x64():
    c = _config(sweep, **MLP, pruner="snip", dtype="float64")
    assert len(sweep_lib.runs(c)) == 2**4
    together = _take(_trainer(c), 8)
    c.sweep_mode = "loop"
    assert _largest_gap(together, _take(_trainer(c), 8)) < 1e-12


def test_runs_of_one_seed_share_what_they_should():
  c = _config({"seed": (0, 1), "rho": (0.0, 0.1), "label_noise": (0.0, 0.5)})
  trainer = _trainer(c)
  states = _states(trainer)
  names = naming.run_names(c)
  of_runs = zip(states, trainer.setup.datasets, strict=True)
  runs = dict(zip(names, of_runs, strict=True))
  for (name, (state, dataset)), (
    other,
    (state2, dataset2),
  ) in itertools.combinations(runs.items(), 2):
    same_seed = name[-1] == other[-1]
    gap = helpers.max_difference(state.params, state2.params)
    assert (gap == 0) == same_seed, (name, other)
    test = [d.splits["test"].inputs for d in (dataset, dataset2)]
    assert np.array_equal(*test) == same_seed, (name, other)
    if same_seed and name[:16] == other[:16]:  # The same label noise.
      train_labels = [d.splits["train"].targets for d in (dataset, dataset2)]
      assert np.array_equal(*train_labels)


@pytest.mark.parametrize("mode", ["alone", "vmap", "loop"])
def test_what_is_saved_outlives_the_next_steps(mode):
  """On CPU, the host's copy of an array can be its very memory."""
  sweep = {} if mode == "alone" else {"seed": (0, 1, 2)}
  fields = {"num_neurons": (256, 256)} | ({"sweep_mode": mode} if sweep else {})
  trainer = _trainer(_config(sweep, **fields), 1)
  _take(trainer, 3)
  items = trainer.items()
  before = jax.tree.map(np.copy, items)
  _take(trainer, 9)
  helpers.assert_same_bits(items, before)
  moved = helpers.max_difference(items["weights"], trainer.items()["weights"])
  assert moved > 1e-4


# --- through the training loop ------------------------------------------------

LOOP = {
  "num_neurons": (8,),
  "batch_size": 128,
  "num_train_steps": 24,
  "eval_every_epochs": 1,  # 11 steps, as without a validation split.
  "validation_fraction": 0.0,
  "log_every_steps": 4,
  "checkpoint_every_steps": 7,
  "steps_per_call": 2,
}


class _Writer:
  """Counts what is written, for each run."""

  def __init__(self, name=""):
    self.name, self.scalars, self.hparams, self.runs = name, [], {}, []

  def for_run(self, name):
    self.runs.append(_Writer(name))
    return self.runs[-1]

  def write_scalars(self, step, scalars):
    self.scalars.append((step, scalars))

  def write_texts(self, step, texts):
    raise AssertionError("not in a sweep")

  def write_hparams(self, hparams):
    self.hparams = hparams


def _train(workdir, sweep, writer=None, should_stop=lambda: False, **fields):
  c = _config(sweep, **LOOP | fields)
  return train.train_and_evaluate(
    c, str(workdir), writer, should_stop=should_stop
  )


def _stop_before(number):
  """Returns a `should_stop` that lets so many calls to the device pass."""
  counter = itertools.count()
  return lambda: next(counter) >= number


def test_a_diverged_run_does_not_touch_its_neighbours(tmp_path):
  result = _train(
    tmp_path / "all", {"learning_rate": (0.1, 1e30), "seed": (0, 1)}
  )
  _train(tmp_path / "good", {"learning_rate": (0.1,), "seed": (0, 1)})
  assert result["status"] == "finished"
  runs = files.read_runs(tmp_path / "all")
  assert [run["status"] for run in runs] == ["finished"] * 2 + ["diverged"] * 2
  assert [run["config"]["learning_rate"] for run in runs] == [0.1] * 2 + [
    1e30
  ] * 2
  for run in runs[2:]:
    assert run["diverged"] == {"metric": "loss", "step": 1}
    assert "final" not in run
  for run, alone in zip(runs, files.read_runs(tmp_path / "good"), strict=False):
    assert run["final"] == pytest.approx(alone["final"], rel=1e-5)
  lines = files.read_lines(tmp_path / "all")
  bad = [line for line in lines if "learning_rate=1e+30" in line["run"]]
  assert [set(line) for line in bad] == [
    {"run", "step", "epoch", "diverged"}
  ] * 2


def test_all_diverged(tmp_path):
  result = _train(tmp_path, {"learning_rate": (1e30, 1e31)})
  assert result["status"] == "diverged"
  assert result["num_steps"] < LOOP["num_train_steps"]
  assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_resumed_sweep_equals_an_uninterrupted_one(tmp_path, mode):
  sweep = {"learning_rate": (0.1, 1e30), "rho": (0.0, 0.1), "seed": (0, 5)}
  folders = {}
  for name, calls in (("whole", []), ("stopped", [3, 9])):
    folder = folders[name] = tmp_path / name
    for number in calls:
      with pytest.raises(train.Stopped):
        _train(folder, sweep, None, _stop_before(number), sweep_mode=mode)
    _train(folder, sweep, sweep_mode=mode)
  whole, stopped = folders.values()
  for name in (files.METRICS, files.CONFIG):
    assert (whole / name).read_bytes() == (stopped / name).read_bytes()
  drop = {"wall_time_seconds", "commit"}
  results = [
    {k: v for k, v in run.items() if k not in drop}
    for folder in folders.values()
    for run in files.read_runs(folder)
  ]
  assert results[:8] == results[8:]
  assert [run["status"] for run in results[:8]] == (
    ["finished"] * 4 + ["diverged"] * 4
  )
  checkpoints = [
    pathlib.Path(folder, "checkpoints", "24") for folder in folders.values()
  ]
  sums = [(path / "SHA256SUMS").exists() for path in checkpoints]
  assert sums == [True, True]
  evaluated = [train.evaluate(str(folder)) for folder in folders.values()]
  assert evaluated[0][:4] == evaluated[1][:4]
  for run, values in zip(results, evaluated[0][:4], strict=False):
    assert values["run"] == run["run"]
    assert values["test_loss"] == run["final"]["test_loss"]


def test_what_tensorboard_gets(tmp_path):
  writer = _Writer()
  _train(
    tmp_path,
    {"rho": (0.0, 0.1)},
    writer,
    num_train_steps=-1,
    num_epochs=25,
    log_every_steps=11,
  )
  assert writer.scalars == []
  assert [run.name for run in writer.runs] == ["rho=0", "rho=0.1"]
  for run, rho in zip(writer.runs, (0.0, 0.1), strict=True):
    assert run.hparams["rho"] == rho
    numbers = [len(scalars) for _, scalars in run.scalars]
    assert 10 <= sum(numbers) <= log.MAX_SWEEP_NUMBERS
    assert run.scalars[-1][0] == 25 * 11
    assert set(run.scalars[-1][1]) == {"train_accuracy", "test_accuracy"}


def test_folder_of_another_sweep(tmp_path):
  _train(tmp_path, {"rho": (0.0, 0.1)})
  config = json.loads((tmp_path / files.CONFIG).read_text())
  assert config["config"]["sweep"] == {"rho": [0.0, 0.1]}
  with pytest.raises(files.RunError, match=r"sweep\.rho=\[0\.0, 0\.1\], not"):
    _train(tmp_path, {"rho": (0.0, 0.2)})
