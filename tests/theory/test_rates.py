"""Linear rates: of made-up losses, and the bound against exact expectations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import objective as objective_lib
from theory import rates

EPOCHS = np.arange(0, 101, 5)


def test_rates_of_an_exponential_and_of_a_power():
  line = 8 * 2 ** (-0.1 * EPOCHS)
  assert rates.rate(EPOCHS, line) == pytest.approx(0.1)
  assert rates.straightness(line) == pytest.approx(1)
  assert rates.line_over_power(EPOCHS, line) > 0.04
  # To a hundredth of the initial loss.
  power = 8 / (1 + 0.99 * EPOCHS)
  assert rates.straightness(power) == pytest.approx(0.174, abs=1e-3)
  assert rates.line_over_power(EPOCHS, power) < -0.04
  # Both fall as far, but the power falls early.
  assert rates.rate(EPOCHS, power) > np.log2(100) / 100


def test_floor_is_that_of_the_best_factors():
  rng = np.random.default_rng(0)
  left, _ = np.linalg.qr(rng.normal(size=(50, 3)))
  right, _ = np.linalg.qr(rng.normal(size=(4, 3)))
  targets = np.sqrt(50) * left @ np.diag([3, 2, 1]) @ right.T
  for rank, floor in {1: 5, 2: 1, 3: 0, 9: 0}.items():
    assert rates.loss_floor(targets, rank) == pytest.approx(floor, abs=1e-9)


def test_contraction_is_that_of_the_theorem():
  alpha, beta, smoothness, rho = 0.5, 4.0, 3.0, 0.01
  c = rates.Constants(smoothness, beta, alpha)
  slowed = alpha - (beta + alpha / 2) * beta * rho
  eta = slowed / (2 * smoothness * beta * (beta * rho + 1) ** 2)
  assert rates.best_learning_rate(c, rho, 1) == pytest.approx(eta)
  left = rates.contraction(c, rho, 1, eta)
  assert left == pytest.approx(1 - slowed / 2 * eta)
  assert rates.contraction(c, rho, 1, 2 * eta) == pytest.approx(1)
  for other in (0.9 * eta, 1.1 * eta):
    assert left < rates.contraction(c, rho, 1, other) < 1
  # Too large a perturbation leaves nothing of the bound.
  assert rates.best_learning_rate(c, 0.1, 1) < 0
  assert rates.contraction(c, 0.1, 1, eta) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("share", [0.2, 1.0, 1.9])
@pytest.mark.parametrize("rho", [0.0, 0.01, 0.05])
def test_contraction_bounds_the_expectation(batch_size, share, rho):
  """Of parabolas a_i x^2 / 2, over all batches."""
  a = np.array([0.5, 1.0, 1.5, 2.0])
  c = rates.Constants(a.mean(), a.max(), 2 * a.mean())
  eta = share * rates.best_learning_rate(c, rho, batch_size)
  assert eta > 0
  means = np.array([np.mean(b) for b in itertools.combinations(a, batch_size)])
  left = np.mean((1 - eta * means * (1 + rho * means)) ** 2)
  assert left <= rates.contraction(c, rho, batch_size, eta)


def test_smoothness_against_dense_hessians():
  rng = np.random.default_rng(0)
  params = {
    "a": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32),
    "b": jnp.asarray(rng.normal(size=(2, 4)), jnp.float32),
  }
  inputs = rng.normal(size=(9, 3)).astype(np.float32)
  targets = rng.normal(size=(9, 4)).astype(np.float32)
  batches = [
    {"inputs": inputs[i : i + 5], "targets": targets[i : i + 5]} for i in (0, 5)
  ]

  def predict(params, state, batch):
    del state
    return batch["inputs"] @ params["a"] @ params["b"]

  def loss(outputs, batch):
    return jnp.sum(jnp.square(outputs - batch["targets"]), -1)

  objective = objective_lib.Objective(predict, loss, params, batches)
  w = objective.weights

  def losses(w):
    batch = {"inputs": inputs, "targets": targets}
    return loss(predict(objective.unflatten(w), {}, batch), batch)

  hessians = np.asarray(jax.hessian(losses)(w), np.float64)
  norm = np.linalg.norm(hessians.mean(0), 2)
  assert rates.smoothness(objective, w) == pytest.approx(norm, rel=1e-3)
  norm = max(np.linalg.norm(h, 2) for h in hessians)
  assert rates.example_smoothness(objective, w) == pytest.approx(norm, rel=0.01)
