"""The study of the Hessian: what it measures of runs, and what it compares."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis import restored
from studies import hessian
import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Returns a small run of SAM, briefly trained."""
  folder = str(tmp_path_factory.mktemp("run"))
  config = hessian.STUDY.cells("laptop")[0].config.copy_and_resolve_references()
  # So few neurons would all die at the study's learning rate.
  config.num_neurons, config.learning_rate = (5,), 0.01
  config.num_epochs = 6
  config.sweep.seed, config.sweep.rho = (0,), (0.1,)
  train.train_and_evaluate(config, folder)
  return restored.load(folder)[0]


def test_measure_against_dense_hessians(run, monkeypatch):
  monkeypatch.setattr(hessian, "NUM_EXAMPLES", 50)
  found = hessian.STUDY.measure(run)

  def losses_of(objective, w):
    batches = objective.batches
    batch = {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}
    variables = {"params": objective.unflatten(w)}
    inputs = run.setup.dataset.normalize(batch["inputs"])
    outputs = run.setup.model.apply(variables, inputs, train=False)
    targets = jax.nn.one_hot(batch["targets"], outputs.shape[-1])
    return jnp.sum(jnp.square(outputs - targets), -1)

  objective = run.objective()
  w = objective.weights
  assert found["training_loss"] == pytest.approx(losses_of(objective, w).mean())
  mean = jax.jit(jax.hessian(lambda w: losses_of(objective, w).mean()))
  top = np.linalg.eigvalsh(mean(w))[-1]
  assert found["lambda_max"] == pytest.approx(top, rel=1e-3)

  few = run.objective(num_examples=50)
  each = jax.jit(jax.hessian(lambda w: losses_of(few, w)))
  hessians = np.asarray(each(w), np.float64)
  assert len(hessians) == 50
  apart = hessians - hessians.mean(0)
  s_2 = np.sqrt(np.linalg.eigvalsh((apart @ apart).mean(0))[-1])
  assert found["s_2"] == pytest.approx(s_2, rel=1e-3)


def test_reductions():
  values = {0: (16.0, 8.0, 4.0), 1: (10.0, 5.0, 8.0)}
  runs = pd.DataFrame(
    [
      {"seed": s, "num_parameters": 7, "rho": r, "s_2": v, "status": "finished"}
      for s, row in values.items()
      for r, v in zip((0.0, 0.01, 0.2), row, strict=True)
    ]
  )
  runs = pd.concat([runs, runs.head(1).assign(seed=2)])  # It has no SAM.
  table = hessian.reductions(runs, "s_2")
  assert list(table["seed"]) == [0, 1]
  np.testing.assert_allclose(table["ratio"], [4, 1.25])
  np.testing.assert_allclose(table["log2_ratio"], [2, np.log2(1.25)])
  np.testing.assert_allclose(table["log2_sam"], [2, 3])
  np.testing.assert_allclose(table["percent"], [75, 20])
