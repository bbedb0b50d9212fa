"""Trimmed batches train and evaluate as padded ones do."""

import jax
import pytest

from configs import sweep
import data
from data import hidden_markov
from data import motifs
from tests import helpers
from training import setup as setup_lib
from training import trainer as trainer_lib

TRANSFORMER = {
  "dataset": "hidden_markov",
  "model": "transformer",
  "head_size": 4,
  "num_layers": 1,
}
GCN = {
  "dataset": "motifs",
  "model": "gcn",
  "loss": "binary_cross_entropy",
  "message_passing_steps": 1,
}
NUM_TRAIN, NUM_STEPS = 26, 12  # Four epochs.


@pytest.fixture(autouse=True)
def _few_sizes(monkeypatch):
  """Few examples, of little more than the smallest trimmed size."""
  for source in (hidden_markov, motifs):
    monkeypatch.setattr(source, "NUM_TRAIN", NUM_TRAIN)
    monkeypatch.setattr(source, "NUM_TEST", 20)
  monkeypatch.setattr(hidden_markov, "LENGTHS", range(3, 10))
  monkeypatch.setattr(motifs, "SIZES", range(4, 11))
  monkeypatch.setattr(motifs, "MAX_RINGS", 0)


def _config(**fields):
  sizes = {"hidden_size": 4, "batch_size": 8, "eval_batch_size": 16}
  return helpers.config(
    **{"optimizer": "sgd", "data_seed": -1, **sizes, **fields}
  )


def _trainer(c):
  datasets = data.load_runs(sweep.runs(c))
  setup = setup_lib.create(c, datasets)
  return trainer_lib.Trainer(setup, jax.devices()[:1])


def _weights(trainer, num_steps=NUM_STEPS):
  """Trains so far and returns the weights of every run."""
  while trainer.step < num_steps:
    trainer.call(num_steps - trainer.step)
  return [trainer.state(i).weights for i in range(len(trainer.setup.runs))]


def test_trimmed_batches_train_as_padded_ones():
  """Losses, gradients, and what needs the whole test split."""
  with jax.enable_x64():
    padded, trimmed = (
      _trainer(_config(**GCN, dtype="float64", bucket_batches=window))
      for window in (0, 1)
    )
    gap = helpers.max_difference(_weights(padded), _weights(trimmed))
    (want,), (got,) = padded.evaluate(), trimmed.evaluate()
  assert len(trimmed._chunks) > 1
  assert gap < 1e-13
  assert got == pytest.approx(want, rel=1e-12)


def test_runs_in_a_bucketed_sweep_equal_runs_alone():
  """Though trimmed to what all need; and resumed, they have the same bits."""
  c = _config(**TRANSFORMER, dtype="float64", bucket_batches=2)
  c.sweep.seed = (0, 3)
  with jax.enable_x64():
    together, evaluated = _weights(t := _trainer(c)), t.evaluate()
    c.sweep_mode = "loop"
    trainer = _trainer(c)
    _weights(trainer, 5)
    items = trainer.items()
    alone, again = _weights(trainer), trainer.evaluate()
    resumed = _trainer(c)
    resumed._chunks = trainer._chunks  # Compiled once.
    resumed.restore(5, items)
    helpers.assert_same_bits(_weights(resumed), alone)
  assert helpers.max_difference(together, alone) < 1e-13
  for got, want in zip(evaluated, again, strict=True):
    assert got == pytest.approx(want, rel=1e-12)
