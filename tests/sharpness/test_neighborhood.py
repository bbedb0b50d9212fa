"""Neighborhoods of quadratics against dense linear algebra and SAM itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import sam
from sharpness import neighborhood
from sharpness import objective as objective_lib

DIM = 6


def quadratic_losses(params, model_state, batch):
  """x^T H_i x / 2 + b_i x with x = w - c_i."""
  x = params["w"][None] - batch["c"]
  square = jnp.einsum("bij,bi,bj->b", batch["h"], x, x) / 2
  return square + jnp.sum(batch["b"] * x, axis=-1)


def identity(outputs, batch):
  return outputs


def quadratic(h, b=None, c=None, batch_size=None):
  """Returns an objective of examples h [n, d, d], b [n, d], c [n, d]."""
  n, d = h.shape[:2]
  data = {
    "h": jnp.asarray(h),
    "b": jnp.zeros((n, d)) if b is None else jnp.asarray(b),
    "c": jnp.zeros((n, d)) if c is None else jnp.asarray(c),
  }
  size = batch_size or n
  batches = [
    jax.tree.map(lambda x, i=i: x[i : i + size], data)
    for i in range(0, n, size)
  ]
  return objective_lib.Objective(
    quadratic_losses, identity, {"w": jnp.zeros(d)}, batches
  )


def symmetric(seed, n=1):
  a = np.random.default_rng(seed).normal(size=(n, DIM, DIM))
  return (a + a.transpose(0, 2, 1)) / 2


def test_average_sharpness_is_the_trace_of_a_quadratic():
  with jax.enable_x64():
    h, c = symmetric(0), np.random.default_rng(1).normal(size=(1, DIM))
    objective, w = quadratic(h, c=c), jnp.array(c[0])
    got = neighborhood.average_sharpness(objective, w, 0.3, 300, 0)
    want = 0.3**2 * np.trace(h[0]) / (2 * DIM)
    assert abs(got.value - want) < 3 * got.standard_error
    assert got.standard_error < 0.1 * 0.3**2
    adaptive = neighborhood.average_sharpness(
      objective, w, 0.3, 300, 0, adaptive=True
    )
    want = 0.3**2 * np.sum(np.diag(h[0]) * c[0] ** 2) / (2 * DIM)
    assert abs(adaptive.value - want) < 3 * adaptive.standard_error

    # On the sphere itself, not in the ball: the identity has no spread.
    ball = quadratic(np.eye(DIM)[None])
    value, error = neighborhood.average_sharpness(ball, jnp.zeros(DIM), 2, 5, 0)
    assert value == pytest.approx(2.0, rel=1e-12)
    assert error < 1e-12
    with pytest.raises(ValueError, match="num_samples=1"):
      neighborhood.average_sharpness(ball, jnp.zeros(DIM), 1, 1, 0)


def test_a_gradient_adds_no_error_to_average_sharpness():
  """It is 100 times the curvature's part of a rise, and cancels in a pair."""
  with jax.enable_x64():
    h = symmetric(0)
    far = np.full((1, DIM), 1e3)
    near, steep = (
      neighborhood.average_sharpness(
        quadratic(h, c=c), jnp.zeros(DIM), 0.3, 20, 0
      )
      for c in (np.zeros((1, DIM)), far)
    )
    assert steep.value == pytest.approx(near.value, rel=1e-6)
    assert steep.standard_error == pytest.approx(near.standard_error, rel=1e-6)


def dense_maximum(h, b, rho):
  """Returns the maximum of e^T H e / 2 + b e over ||e|| <= rho."""
  values, vectors = np.linalg.eigh(h)
  b = vectors.T @ b

  def excess(shift):
    return np.linalg.norm(b / (shift - values)) - rho

  low = max(values[-1], 0)
  if values[-1] < 0 and excess(0) < 0:
    e = -b / values
  elif not b.any():
    return max(values[-1], 0) * rho**2 / 2
  else:
    shift = optimize.brentq(excess, low + 1e-13, low + 1e9, xtol=1e-13)
    e = b / (shift - values)
  return e @ (values * e) / 2 + b @ e


DESIGNED = {
  "indefinite": symmetric(2)[0],
  "psd": symmetric(3)[0] @ symmetric(3)[0],
  "rank one": np.outer(np.arange(1.0, 7), np.arange(1.0, 7)),
  "negative": -symmetric(3)[0] @ symmetric(3)[0] - np.eye(DIM),
  "identity": np.eye(DIM),
  "zero": np.zeros((DIM, DIM)),
}


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("name", DESIGNED)
def test_worst_case_sharpness_finds_the_maximum(name, slope):
  h, rho = DESIGNED[name], 0.5
  rng = np.random.default_rng(4)
  b, w = slope * rng.normal(size=DIM), rng.normal(size=DIM)
  with jax.enable_x64():
    objective = quadratic(h[None], b[None], w[None])
    for adaptive in (False, True):
      scale = np.abs(w) if adaptive else np.ones(DIM)
      want = dense_maximum(scale[:, None] * h * scale, scale * b, rho)
      got = neighborhood.worst_case_sharpness(
        objective,
        jnp.array(w),
        rho,
        num_steps=200,
        num_restarts=2,
        adaptive=adaptive,
      )
      assert got.value == pytest.approx(want, rel=1e-3, abs=1e-6)
      assert got.value == max(0.0, *got.restarts)
      assert len(got.restarts) == 2
      # The point is in the ball and gives the value.
      e = np.asarray(got.perturbation)
      assert np.linalg.norm(e / scale) <= rho * (1 + 1e-12)
      assert got.value == pytest.approx(e @ h @ e / 2 + b @ e, abs=1e-12)


def test_worst_case_sharpness_starts_along_the_gradient():
  with jax.enable_x64():
    # One gradient a start: the first start is SAM's point, and no other is.
    h, b = symmetric(5), np.random.default_rng(6).normal(size=(1, DIM))
    objective, w = quadratic(h, b), jnp.zeros(DIM)
    got = neighborhood.worst_case_sharpness(
      objective, w, 0.1, num_steps=1, num_restarts=3
    )
    sam_rise = neighborhood.m_sharpness(objective, w, 0.1, 1)
    assert got.restarts[0] == pytest.approx(sam_rise, rel=1e-9)
    assert max(got.restarts[1:]) < sam_rise
    assert neighborhood.worst_case_sharpness(objective, w, 0.0).value == 0
    with pytest.raises(ValueError, match="num_restarts=0"):
      neighborhood.worst_case_sharpness(objective, w, 0.1, num_restarts=0)


def test_m_sharpness_is_what_sam_climbs():
  rng = np.random.default_rng(7)
  h, b, c = symmetric(8, n=11), *rng.normal(size=(2, 11, DIM))
  # Microbatches of two go on over batches of five; the last example is left.
  measured = np.arange(11) < 10
  with jax.enable_x64():
    w = jnp.array(rng.normal(size=DIM))
    objective = quadratic(h, b, c, batch_size=5)
    (data,) = quadratic(h[measured], b[measured], c[measured]).batches

    def loss_fn(params, batch):
      return jnp.mean(quadratic_losses(params, None, batch)), {}

    grad_fn = jax.jit(sam.value_and_grad(loss_fn, microbatch_size=2))
    (loss, aux), _ = grad_fn({"w": w}, data, 0.3)
    got = neighborhood.m_sharpness(objective, w, 0.3, 2)
    assert got == pytest.approx(float(aux["perturbed_loss"] - loss), rel=1e-9)
    with pytest.raises(ValueError, match="m=12"):
      neighborhood.m_sharpness(objective, w, 0.3, 12)
    with pytest.raises(ValueError, match="m=12"):
      neighborhood.gradient_change(objective, w, 0.3, 12)
    still = quadratic(h, c=np.tile(w, (11, 1)))
    assert neighborhood.m_sharpness(still, w, 0.3, 2) == 0


@pytest.mark.parametrize("rho", [1e-6, 0.05, 2.0])
@pytest.mark.parametrize("gradient_norm", [1e-3, 0.7, 40.0])
def test_at_sams_edge_a_step_only_changes_the_sign(gradient_norm, rho):
  # With curvature lambda the weight is x = ||g|| / lambda and a SAM step goes
  # to x - eta lambda (x + rho). That is -x if
  #   eta rho lambda^2 + eta ||g|| lambda - 2 ||g|| = 0,
  # whose positive root is the edge.
  eta = 0.1
  edge = neighborhood.sam_edge(gradient_norm, eta, rho)
  printed = math.sqrt(1 + 8 * rho / (eta * gradient_norm)) - 1
  printed *= gradient_norm / (2 * rho)
  assert edge == pytest.approx(printed, rel=1e-6)
  with jax.enable_x64():
    h = np.diag([edge, edge / 3])
    grad_fn = sam.value_and_grad(lambda w, batch: (w @ batch[0] @ w / 2, {}))
    w = jnp.array([gradient_norm / edge, 0.0])
    batch = jnp.asarray(h)[None]
    for sign in (-1, 1):
      _, gradient = grad_fn(w, batch, jnp.float64(rho))
      w = w - eta * gradient
      np.testing.assert_allclose(
        w, [sign * gradient_norm / edge, 0], rtol=1e-7, atol=1e-12
      )


def test_sams_edge_has_its_limits():
  assert neighborhood.sam_edge(1.0, 0.1, 0.0) == pytest.approx(20)
  assert neighborhood.sam_edge(0.0, 0.1, 0.0) == pytest.approx(20)
  assert neighborhood.sam_edge(1.0, 0.1, 1e-14) == pytest.approx(20, rel=1e-9)
  assert neighborhood.sam_edge(0.0, 0.1, 0.5) == 0
  assert 0 < neighborhood.sam_edge(1e-12, 0.1, 0.5) < 1e-4


@pytest.mark.parametrize("m", [None, 2])
def test_gradient_change_of_a_quadratic(m):
  rng = np.random.default_rng(9)
  h, b, w = symmetric(10, n=4), rng.normal(size=(4, DIM)), rng.normal(size=DIM)
  rho, size = 0.4, m or 4
  plain, moved = np.zeros(DIM), np.zeros(DIM)
  for i in range(0, 4, size):
    part_h, part_b = h[i : i + size].mean(0), b[i : i + size].mean(0)
    g = part_h @ w + part_b
    plain += g / (4 / size)
    moved += (g + rho * part_h @ g / np.linalg.norm(g)) / (4 / size)
  norms = np.linalg.norm(plain), np.linalg.norm(moved)
  with jax.enable_x64():
    got = neighborhood.gradient_change(quadratic(h, b), jnp.array(w), rho, m)
    assert got.relative == pytest.approx(
      np.linalg.norm(moved - plain) / norms[0], rel=1e-9
    )
    assert got.cosine == pytest.approx(plain @ moved / math.prod(norms))
    assert got.perturbation == pytest.approx(rho / np.linalg.norm(w))

    still = neighborhood.gradient_change(quadratic(h), jnp.zeros(DIM), rho, m)
    assert still.relative == 0
    assert math.isnan(still.cosine)
    assert still.perturbation == math.inf
