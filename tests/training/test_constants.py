"""What is not trained keeps its bits: a fixed layer, and initial weights."""

import itertools

import jax
import numpy as np
import pytest

from configs import sweep
import data
from run_folder import files
from tests import helpers
import train
from training import setup as setup_lib
from training import state
from training import trainer as trainer_lib

# W2 is fixed, and a copy of W1 is subtracted.
FIELDS = {
  "model": "two_layer",
  "num_neurons": (12,),
  "trained_layers": "first",
  "loss": "squared_error",
  "lazy_alpha": 2.0,
  "batch_size": 36,
  "learning_rate": 0.02,
  "weight_decay": 1e-2,
  "rho": 0.1,
}


def _assert_constant(before, after):
  assert set(after.model_state) == {"fixed", "initial"}
  helpers.assert_same_bits(before.model_state, after.model_state)
  assert helpers.max_difference(before.params, after.params) > 1e-3


@pytest.mark.parametrize("num_devices", [1, 2])
def test_sam_steps_leave_constants(num_devices):
  """Not even the mean over microbatches, of equal numbers, rounds them."""
  c = helpers.config(**FIELDS, microbatch_size=6)
  trainer = helpers.Trainer(c, helpers.toy_dataset(), num_devices)
  before = jax.device_get(trainer.state.replace(rng=None))
  _assert_constant(before, trainer.run(20))
  for leaf in jax.tree.leaves(trainer.state.model_state):
    shards = [np.asarray(s.data).tobytes() for s in leaf.addressable_shards]
    assert len(set(shards)) == 1
    assert len(shards) == num_devices


@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_every_run_of_a_sweep_has_its_own(mode):
  c = helpers.config(**FIELDS, sweep_mode=mode)
  c.sweep.seed, c.sweep.rho = (0, 1, 2), (0.0, 0.1)
  setup = setup_lib.create(c, data.load_runs(sweep.runs(c)))
  trainer = trainer_lib.Trainer(setup, jax.devices())
  before = jax.device_get(
    [trainer.state(i).replace(rng=None) for i in range(6)]
  )
  while trainer.step < 20:
    trainer.call(20 - trainer.step)
  for i in range(6):
    _assert_constant(before[i], trainer.state(i))
  for i, j in itertools.combinations(range(6), 2):
    gaps = [
      helpers.max_difference(before[i].model_state[k], before[j].model_state[k])
      for k in ("fixed", "initial")
    ]
    same_seed = setup.runs[i].seed == setup.runs[j].seed
    assert [gap == 0 for gap in gaps] == [same_seed] * 2


@pytest.mark.parametrize("sweep", [(), (0, 1)])
def test_survive_a_checkpoint(tmp_path, sweep):
  """A stopped run ends as one that was not, and is evaluated as it logged."""

  def start(workdir, num_calls):
    c = helpers.config(**FIELDS, num_epochs=2, steps_per_call=4)
    c.sweep.seed = sweep
    counter = itertools.count()
    return train.train_and_evaluate(
      c, str(workdir), should_stop=lambda: next(counter) >= num_calls
    )

  start(tmp_path / "whole", 100)
  with pytest.raises(train.Stopped):
    start(tmp_path / "stopped", 5)
  start(tmp_path / "stopped", 100)
  whole, stopped = (
    (tmp_path / name / files.METRICS).read_bytes()
    for name in ("whole", "stopped")
  )
  assert whole == stopped
  evaluated = train.evaluate(str(tmp_path / "stopped"))
  runs = files.read_runs(tmp_path / "stopped")
  assert len(evaluated) == len(runs) == max(1, len(sweep))
  for run, values in zip(runs, evaluated, strict=True):
    assert values["test_loss"] == run["final"]["test_loss"]
    assert run["num_parameters"] == 65 * 12


def test_weights_of_another_run_bring_their_fixed_layer(tmp_path):
  fields = FIELDS | {"lazy_alpha": 0.0, "num_train_steps": 1}

  def start(name, **others):
    c = helpers.config(**fields | others)
    train.train_and_evaluate(c, str(tmp_path / name))
    setup = setup_lib.create(c, data.load(c))
    like = {"weights": state.abstract_weights(setup)}
    _, items = train.checkpoints.restore(str(tmp_path / name), "latest", like)
    return items["weights"]["model_state"]["fixed"]

  first = start("first")
  second = start("second", seed=1, init_from=str(tmp_path / "first"))
  helpers.assert_same_bits(first, second)


def test_every_run_normalizes_by_its_own_training_set():
  """Sim-BN; what is measured of a run has the same constants."""
  c = helpers.config(
    dataset="xor",
    loss="squared_error",
    input_dim=5,
    num_train=12,
    data_seed=-1,
    batch_size=1,
    model="two_layer",
    num_neurons=(6,),
    normalization="sim_bn",
  )
  c.sweep.seed = (0, 1)
  datasets = data.load_runs(sweep.runs(c))
  trainer = trainer_lib.Trainer(setup_lib.create(c, datasets), jax.devices())
  while trainer.step < 5:
    trainer.call(5 - trainer.step)
  kept = [
    np.asarray(trainer.state(i).model_state["fixed"]["training_inputs"])
    for i in range(2)
  ]
  for inputs, dataset in zip(kept, datasets, strict=True):
    np.testing.assert_array_equal(inputs, dataset.splits["train"].inputs)
  assert (kept[0] != kept[1]).any()
