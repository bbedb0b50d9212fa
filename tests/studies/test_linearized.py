"""The study of linearized networks: what it measures, and how it tunes."""

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

from analysis import restored
from studies import linearized
from studies.kit import conditions
import train


def test_measure(tmp_path):
  config = linearized.STUDY.cells("laptop")[
    1
  ].config.copy_and_resolve_references()
  config.num_epochs = 3
  config.sweep.seed, config.sweep.rho = (0,), (0.01,)
  config.sweep.learning_rate = (0.1,)
  train.train_and_evaluate(config, str(tmp_path))
  (run,) = restored.load(tmp_path)
  found = linearized.STUDY.measure(run)

  images = jnp.concatenate([b["inputs"] for b in run.objective().batches])
  inputs = run.setup.dataset.normalize(images)
  after = run.weights["params"]
  before = run.weights["model_state"]["initial"]

  def outputs(params):
    variables = {"params": params}
    return run.setup.model.model.apply(variables, inputs, train=False)

  change = jax.tree.map(lambda a, b: a - b, after, before)
  start, tangent = jax.jvp(outputs, (before,), (change,))
  own = outputs(after) - start
  distance = jnp.linalg.norm(own - tangent) / jnp.linalg.norm(own)
  assert found["tangent_distance"] == pytest.approx(float(distance), rel=1e-3)
  norm = sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(change)) ** 0.5
  assert found["weight_change"] == pytest.approx(norm, rel=1e-3)

  def signs(params):
    x, found = inputs.reshape(len(inputs), -1), []
    for name in ("Dense_0", "Dense_1"):
      x = x @ params[name]["kernel"] + params[name]["bias"][None]
      found.append(x > 0)
      x = jnp.maximum(x, 0)
    return jnp.concatenate(found, -1)

  same = float(jnp.mean(signs(before) == signs(after)))
  assert found["activation_stability"] == pytest.approx(same, abs=1e-4)


def test_learning_rates_are_tuned_for_each_alpha_and_rho():
  # Validation accuracy by alpha, rho and learning rate.
  accuracies = {
    (1.0, 0.0): {0.1: 0.9, 0.02: 0.8},
    (1.0, 0.01): {0.1: 0.7, 0.02: 0.8},
    (10.0, 0.0): {0.1: 0.6, 0.02: 0.8},
  }
  rows = [
    {
      "workload": "mlp_digits",
      "gradient_clip": 0.0,
      "label_noise": 0.0,
      "lazy_alpha": alpha,
      "rho": rho,
      "learning_rate": rate,
      "seed": seed,
      "final_validation_accuracy": accuracy + seed / 100,
      # The best on the validation split is not the best on the test set.
      "final_test_accuracy": 1 - accuracy,
      "validation_fraction": 0.2,
      "status": "finished",
      "metric": "final_test_accuracy",
    }
    for (alpha, rho), found in accuracies.items()
    for rate, accuracy in found.items()
    for seed in (0, 1)
  ]
  (condition,) = conditions.of(pd.DataFrame(rows))
  best = linearized.tuned(condition)
  assert len(best) == 6
  found = best[best["seed"] == 0].set_index(["lazy_alpha", "rho"])
  assert found["learning_rate"].to_dict() == {
    (1.0, 0.0): 0.1,
    (1.0, 0.01): 0.02,
    (10.0, 0.0): 0.02,
  }
