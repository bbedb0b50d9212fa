"""Objectives of runs, from training and from folders, against plain JAX."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import restored
from configs import base
from configs import errors
from data import load_runs
from data.dataset import StreamSplit
from run_folder import files
from sharpness import measures
import sharpness_report
from tests import helpers
import train
from training import losses
from training import objectives as objectives_lib
from training import setup as setup_lib
from training import state as state_lib

RESNET = {"model": "resnet18", "num_filters": 1}
pytestmark = pytest.mark.usefixtures("short_resnets")

MLP = {"model": "mlp", "num_neurons": (6,)}


@pytest.mark.parametrize("pruned", [False, True])
def test_derivatives_are_those_of_the_training_loss(pruned):
  fields = MLP | ({"sparsity": 0.6, "pruner": "random"} if pruned else {})
  with jax.enable_x64():
    c = helpers.config(
      **fields, dtype="float64", batch_size=16, eval_batch_size=10
    )
    setup = setup_lib.create(c, helpers.toy_dataset(20))
    (state,) = state_lib.create_states(setup)
    batch = _batch(setup, slice(None))
    loss_fn = losses.create(c, setup.model, setup.dataset, train=False)

    @jax.jit
    def value_and_grad(params):
      def loss(params):
        return loss_fn(params, state.model_state, batch, jax.random.key(0))[0]

      return jax.value_and_grad(loss)(params)

    kept = slice(None)
    if state.mask is not None:
      kept = np.asarray(jax.flatten_util.ravel_pytree(state.mask)[0])

    def plain(w):
      loss, gradient = value_and_grad(objective.unflatten(w))
      return loss, jax.flatten_util.ravel_pytree(gradient)[0][kept]

    objective = objectives_lib.Objectives(setup).create(
      0, state.weights, state.mask
    )
    w = objective.weights
    assert (objective.dim, objective.num_examples) == (w.size, 20)
    value, gradient = objective.value_and_gradient(w)
    assert abs(value - plain(w)[0]) < 1e-12
    assert jnp.abs(gradient - plain(w)[1]).max() < 1e-12
    v = jax.random.normal(jax.random.key(1), w.shape)
    v *= 1e-5 / jnp.linalg.norm(v)
    change = (plain(w + v)[1] - plain(w - v)[1]) / 2
    product = objective.hvp(w, v)
    assert jnp.linalg.norm(product) > 1e-8
    assert jnp.linalg.norm(product - change) < 1e-5 * jnp.linalg.norm(change)


def _batch(setup, rows):
  """Returns training examples as a loss function wants them."""
  split = setup.dataset.splits["train"]
  return {
    "inputs": setup.dataset.normalize(jnp.asarray(split.inputs[rows])),
    "targets": jnp.asarray(split.targets[rows]),
  }


def test_both_modes_of_batch_norm():
  """With running averages that are not 0 and 1, and pruned weights."""
  c = helpers.config(
    **RESNET, batch_size=16, sparsity=0.6, pruner="random", num_epochs=1
  )
  setup = setup_lib.create(c, helpers.toy_dataset(40))
  (state,) = state_lib.create_states(setup)
  averages = jax.tree.map(lambda x: 0.7 * x + 0.1, state.model_state)
  weights = {"params": state.params, "model_state": averages}

  def plain(loss_fn, rows):
    key = jax.random.key(0)
    return float(loss_fn(*weights.values(), _batch(setup, rows), key)[0])

  create = functools.partial(
    objectives_lib.Objectives(setup).create, 0, weights, state.mask
  )
  running = create()
  expected = plain(
    losses.create(c, setup.model, setup.dataset, train=False), ...
  )
  assert float(running.value(running.weights)) == pytest.approx(expected)
  assert running.has_microbatches(8)
  batches = create(batch_statistics=True)
  assert batches.has_microbatches(16)
  assert not batches.has_microbatches(8)
  assert batches.num_examples == 32  # The rest is dropped, as in training.
  order = np.random.default_rng(0).permutation(40)
  own = [plain(setup.loss_fn, rows) for rows in (order[:16], order[16:32])]
  assert float(batches.value(batches.weights)) == pytest.approx(np.mean(own))
  assert np.mean(own) != pytest.approx(expected, rel=1e-3)


def test_some_examples():
  c = helpers.config(**MLP, label_smoothing=0.1, label_noise=0.5)
  setup = setup_lib.create(c, load_runs([c]))
  objectives = objectives_lib.Objectives(setup)
  weights = state_lib.create_states(setup)[0].weights
  few = objectives.create(0, weights, num_examples=100)
  assert few.num_examples == few.sample(200).num_examples == 100
  assert few.sample(30).num_examples == 30
  # All of them, with the labels and the smoothing of training.
  whole = objectives.create(0, weights)
  loss, _ = setup.loss_fn(
    *weights.values(), _batch(setup, ...), jax.random.key(0)
  )
  assert float(whole.value(whole.weights)) == pytest.approx(float(loss))
  assert len(whole.batches) == 3
  parts = list(whole.microbatches(1000))
  assert [part.num_examples for part in parts] == [1000]
  with pytest.raises(errors.UserError, match="split='validation': must be one"):
    objectives.create(0, weights, split="validation")


def test_streamed_data_needs_a_number_of_examples():
  images = np.zeros((9, 4, 4, 1), np.float32)
  split = StreamSplit(
    num_examples=9,
    train_batches=lambda **_: iter(()),
    eval_batches=lambda size: iter(
      [{"inputs": images[:size], "targets": np.arange(9)[:size] % 4}]
    ),
  )
  dataset = dataclasses.replace(
    helpers.toy_dataset(shape=(4, 4, 1)), splits={"train": split}
  )
  c = helpers.config(**MLP, batch_size=4)
  setup = setup_lib.create(c, dataset)
  weights = state_lib.create_states(setup)[0].weights
  objectives = objectives_lib.Objectives(setup)
  with pytest.raises(errors.UserError, match="num_examples=0: must be >= 1"):
    objectives.create(0, weights)
  assert objectives.create(0, weights, num_examples=5).num_examples == 5


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  """Pruned runs with snapshots and sharpness on the way; some diverge."""
  folder = tmp_path_factory.mktemp("sweep")
  c = helpers.config(
    **MLP,
    batch_size=128,
    num_epochs=2,
    sparsity=0.5,
    pruner="random",
    label_noise=0.25,
    data_seed=-1,
    snapshot_every_epochs=1,
    sharpness_every_epochs=1,
  )
  c.sweep.rho = (0.0, 0.2)
  c.sweep.seed = (0, 1)
  base.check(c)
  train.train_and_evaluate(c, str(folder))
  return folder


def test_runs_of_a_sweep(sweep):
  """Each is what the records say of it, at the end and at every snapshot."""
  runs = restored.load(sweep)
  assert [run.name for run in runs][1] == "rho=0-seed=1"
  for run in runs:
    objective = run.objective()
    split = run.setup.datasets[run.index].splits["train"]
    own = load_runs([run.config])[0].splits["train"]
    assert (split.targets == own.targets).all()
    counts = np.bincount(
      np.concatenate([b["targets"] for b in objective.batches])
    )
    assert (counts == np.bincount(own.targets)).all()
    assert objective.dim < sum(
      x.size for x in jax.tree.leaves(run.weights["params"])
    )
    start, first, last = run.snapshots()
    assert [start.step, last.step] == [0, run.step]
    measured = [line for line in run.lines() if "lambda_max" in line]
    for line, at in zip(measured, (first, last), strict=True):
      point = objectives_lib.point(run.config, at.objective())
      found = measures.measure(point, objectives_lib.WHILE_TRAINING)
      assert line["lambda_max"] == found["lambda_max"]
      assert line["m_sharpness"] == found["m_sharpness"]
      assert found["m_sharpness_rho"] == (run.config.rho or 0.05)
    test = run.objective(split="test")
    assert float(test.value(test.weights)) == pytest.approx(
      measured[-1]["test_loss"], rel=1e-5
    )
    helpers.assert_same_bits(last.weights, run.weights)
    w0 = start.objective().weights
    assert float(jnp.linalg.norm(w0 - objective.weights)) > 0.1
  # Runs of one seed begin alike.
  start = [run.snapshot(0).weights for run in runs]
  helpers.assert_same_bits(start[0], start[2])
  assert helpers.max_difference(start[0], start[1]) > 0.1
  with pytest.raises(files.RunError, match="has no snapshot of step 1;"):
    runs[0].snapshot(1)


def test_sharpness_report(sweep, capsys, monkeypatch):
  name = "rho=0.2-seed=1"
  flags = [
    f"--workdir={sweep}",
    f"--runs={name}",
    "--measures=loss,eigenvalues,spectrum,m_sharpness,landscape_line",
    "--num_examples=200",
  ]
  monkeypatch.setattr("sys.argv", ["sharpness_report.py", *flags])
  sharpness_report.main()
  out = capsys.readouterr().out
  assert f"{sweep / name}, step" in out
  record = json.loads((sweep / name / "sharpness.json").read_text())
  assert record["rho"] == 0.2
  assert record["num_examples"] == 200
  assert f"{record['lambda_max']:.6g} +- " in out
  # What is measured later at the same place is added.
  flags[2:] = ["--measures=trace", "--num_examples=200"]
  monkeypatch.setattr("sys.argv", ["sharpness_report.py", *flags])
  sharpness_report.main()
  added = json.loads((sweep / name / "sharpness.json").read_text())
  assert added.items() >= record.items()
  assert added["trace_stderr"] > 0
  for figure in ("spectrum.png", "spectrum.pdf", "landscape.png"):
    assert (sweep / name / figure).stat().st_size > 1000
  assert not (sweep / "rho=0-seed=0" / "sharpness.json").exists()


@pytest.mark.parametrize(
  ("flag", "line"),
  [
    ("--runs=rho=1", "--runs='rho=1': must be one of rho=0-seed=0, "),
    ("--measures=lambda", "measures='lambda': must be all, or some of loss, "),
    ("--split=validation", "split='validation': must be one of train, test"),
    ("--measure=loss", "unrecognized arguments: --measure=loss"),
    ("--checkpoint=3", "no checkpoint '3'; there are ["),
    ("--rho=-1", "--rho=-1.0: must be >= 0"),
  ],
)
def test_wrong_flags(sweep, capsys, monkeypatch, flag, line):
  monkeypatch.setattr(
    "sys.argv", ["sharpness_report.py", f"--workdir={sweep}", flag]
  )
  with pytest.raises(SystemExit) as stop:
    sharpness_report.main()
  assert stop.value.code == 2
  (error,) = capsys.readouterr().err.splitlines()
  assert line in error
