"""Named measures of a bare point, and what an objective refuses."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import sharpness
from sharpness import measures

X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
BATCH = {"x": X, "y": X[:, 0]}


def _squares(w, state, batch):
  return (batch["x"] @ w - batch["y"]) ** 2


def _objective(batches, losses=_squares, loss=lambda losses, batch: losses):
  return sharpness.Objective(losses, loss, jnp.zeros(4), batches)


def test_a_point_needs_no_more_than_its_objective():
  """Of a parabola: rho^2 tr(H) / (2 d) on average, no learning rate."""
  point = sharpness.Point(_objective(sharpness.batched(BATCH, 8)))
  found = measures.measure(point, measures.DEFAULT)
  exact = np.linalg.eigvalsh(2 * X.T @ X / len(X))
  assert found["top_eigenvalues"] == pytest.approx(exact[::-1], rel=1e-3)
  assert found["trace"] == pytest.approx(
    exact.sum(), abs=4 * found["trace_stderr"]
  )
  assert found["average_sharpness"] == pytest.approx(
    0.05**2 * exact.sum() / 8, abs=4 * found["average_sharpness_stderr"]
  )
  # All examples share a perturbation.
  assert found["m_sharpness"] == pytest.approx(
    found["worst_case_sharpness"], rel=0.1
  )
  assert found["sam_edge"] == found["sgd_edge"] == math.inf
  assert measures.stability(point) == {}


def test_a_hessian_that_is_not_finite():
  """Its square overflows, while the loss at zero weights does not."""
  point = sharpness.Point(_objective([BATCH | {"x": 1e30 * X}]))
  found = measures.measure(point, ["lambda_max", "loss"])
  assert math.isnan(found["lambda_max"])
  assert found["loss"] == pytest.approx(np.mean(X[:, 0] ** 2), rel=1e-5)


def test_step_constants_of_a_loss_below_zero():
  """Its least value is not known, and so the PL constant is not."""
  below = _objective([BATCH], lambda *a: _squares(*a) - 100)
  point = sharpness.Point(below, learning_rate=0.01)
  found = measures.measure(point, ["step_constants"])
  exact = np.linalg.eigvalsh(2 * X.T @ X / len(X))
  assert exact[0] < found["smoothness"] < exact[-1]
  assert math.isnan(found["pl_constant"])


def test_a_step_that_is_lost_in_rounding():
  weights = jnp.full(4, 0.3)
  objective = sharpness.Objective(
    _squares, lambda losses, batch: losses, weights, [BATCH]
  )
  for learning_rate, is_known in ((1e-3, True), (1e-7, False)):
    point = sharpness.Point(objective, learning_rate=learning_rate)
    found = measures.step_constants(point)["smoothness"]
    assert math.isfinite(found) == is_known


def test_a_mean_is_no_loss_of_each_example():
  point = sharpness.Point(
    _objective([BATCH], loss=lambda losses, batch: jnp.mean(losses))
  )
  for name in ("loss", "lambda_max"):
    with pytest.raises(ValueError, match=r"has shape \(\), must be \(20,\)"):
      measures.measure(point, [name])


@pytest.mark.parametrize("batches", [BATCH, []])
def test_what_are_no_batches(batches):
  with pytest.raises(ValueError, match="must be a sequence of one or more"):
    _objective(batches)
