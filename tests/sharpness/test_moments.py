"""Moments of per-example Hessians against dense matrices, and simulated SAM."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sam
from sharpness import moments
from sharpness import objective as objective_lib


def half_square_form(params, model_state, batch):
  return jnp.einsum("bij,i,j->b", batch["h"], params["w"], params["w"]) / 2


def identity(outputs, batch):
  return outputs


def quadratic(h):
  """Returns an objective whose four examples have the Hessians h, [4, d, d]."""
  params = {"w": jnp.zeros(h.shape[-1])}
  batches = [{"h": jnp.asarray(h[:2])}, {"h": jnp.asarray(h[2:])}]
  return objective_lib.Objective(half_square_form, identity, params, batches)


def power_gap(h, k):
  """Returns M_k - H^k."""
  powers = [np.linalg.matrix_power(x, k) for x in h]
  return np.mean(powers, 0) - np.linalg.matrix_power(np.mean(h, 0), k)


def printed_matrix(h, eta, rho):
  """Returns the matrix as Theorem 6.3 prints it."""
  mean, eye = np.mean(h, 0), np.eye(h.shape[-1])
  plain = eye - eta * mean - eta * rho * mean @ mean
  return (
    plain @ plain
    + eta * (eta - 2 * rho) * power_gap(h, 2)
    + 2 * eta**2 * rho * power_gap(h, 3)
    + eta**2 * rho**2 * power_gap(h, 4)
  )


def steps_of(h, eta, rho):
  """Returns what un-normalized SAM on each example multiplies x by."""
  return np.eye(h.shape[-1]) - eta * h - eta * rho * h @ h


def largest(matrix):
  return np.linalg.eigvalsh(matrix)[-1]


def regression(seed, n=4, dim=4):
  """Returns Hessians 2 x_i x_i^T of squared errors, [n, dim, dim]."""
  x = np.random.default_rng(seed).normal(size=(n, dim)) / math.sqrt(dim)
  return 2 * x[:, :, None] * x[:, None]


def indefinite(seed):
  a = np.random.default_rng(seed).normal(size=(4, 4, 4))
  return (a + a.transpose(0, 2, 1)) / 2


DESIGNED = {
  "rank deficient": regression(0)[[0, 0, 1, 2]],
  "indefinite": indefinite(1),
  "identical": np.tile(regression(2).sum(0), (4, 1, 1)),
  "identity": np.tile(np.eye(4), (4, 1, 1)),
  "zero": np.zeros((4, 4, 4)),
  "one-dimensional": np.array([0.5, 2.0, 3.0, 0.0])[:, None, None],
  # The mean is 0 and M_3 is -3/2: the largest eigenvalue is negative.
  "negative": np.array([-2.0, 1.0, 1.0, 0.0])[:, None, None],
}


@pytest.mark.parametrize("name", DESIGNED)
def test_moments_of_designed_hessians(name):
  h = DESIGNED[name]
  size = np.linalg.norm(h)
  with jax.enable_x64():
    objective = quadratic(h)
    for k in (2, 3, 4):
      got = moments.non_uniformity(objective, objective.weights, k)
      want = max(largest(power_gap(h, k)), 0)
      # Before the root, which turns rounding of 1e-16 into 1e-4.
      assert got.value**k == pytest.approx(want, rel=1e-4, abs=1e-6)
      assert abs(got.value - want ** (1 / k)) <= got.error + 1e-12
      assert got.error <= 1e-3 * size
      assert got.converged
    for eta, rho in ((0.3, 0.0), (0.3, 0.1), (0.05, 0.4)):
      got = moments.stability(objective, objective.weights, eta, rho)
      steps = steps_of(h, eta, rho)
      matrix = printed_matrix(h, eta, rho)
      # The mean square of a step, with the same example in both of its parts,
      # is what the theorem prints.
      np.testing.assert_allclose(matrix, np.mean(steps @ steps, 0), atol=1e-12)
      scale = np.linalg.norm(matrix)
      assert got.value == pytest.approx(largest(matrix), abs=1e-4 * scale)
      assert got.converged
      is_clear = abs(got.value - 1) > got.error
      assert got.stable == (largest(matrix) < 1 if is_clear else None)


def network(params, model_state, batch):
  hidden = jnp.tanh(batch["x"] @ params["a"] + params["b"][None])
  return hidden @ params["c"]


def squared_error(outputs, batch):
  return jnp.sum((outputs - batch["y"]) ** 2, axis=-1)


def test_moments_of_a_network():
  with jax.enable_x64():
    rng = np.random.default_rng(4)
    params = {
      "a": jnp.array(rng.normal(size=(2, 3))),
      "b": jnp.array(rng.normal(size=3)),
      "c": jnp.array(rng.normal(size=(3, 2))),
    }
    x, y = jnp.array(rng.normal(size=(2, 5, 2)))
    objective = objective_lib.Objective(
      network, squared_error, params, [{"x": x, "y": y}]
    )

    def flat_loss(w, x, y):
      a, b, c = w[:6].reshape(2, 3), w[6:9], w[9:].reshape(3, 2)
      return jnp.sum((jnp.tanh(x @ a + b) @ c - y) ** 2)

    w = objective.weights
    h = np.asarray(jax.vmap(jax.hessian(flat_loss), (None, 0, 0))(w, x, y))
    for k in (2, 3):
      got = moments.non_uniformity(objective, w, k)
      want = largest(power_gap(h, k))
      assert got.value**k == pytest.approx(want, rel=1e-4)
      assert got.converged
    with pytest.raises(ValueError, match="k=5"):
      moments.non_uniformity(objective, w, 5)


def test_float32_knows_how_little_is_left_of_a_moment():
  h = np.tile(regression(5).sum(0), (4, 1, 1))
  got = moments.non_uniformity(quadratic(h), jnp.zeros(4), 4)
  assert got.converged
  assert got.value <= got.error < 0.2 * np.linalg.norm(h[0])


def test_matrix_powers_are_not_convex():
  # Semidefinite examples, and yet moments with eigenvalues of both signs.
  h = np.array([[[1.0, 1], [1, 1]], [[8, 0], [0, 0]]])
  assert np.all(np.linalg.eigvalsh(h) > -1e-12)
  for k in (3, 4):
    values = np.linalg.eigvalsh(power_gap(h, k))
    assert values[0] < -0.04
    assert values[-1] > 100


def test_the_value_is_the_growth_of_one_step_of_sam():
  h, eta, rho = regression(6), 0.9, 0.2
  with jax.enable_x64():
    objective = quadratic(h)
    value = moments.stability(objective, objective.weights, eta, rho).value

    def loss_fn(w, batch):
      return jnp.mean(half_square_form({"w": w}, None, batch)), {}

    sam_grad = sam.value_and_grad(loss_fn, perturbation="unnormalized")

    @jax.jit
    def mean_square_after_a_step(w):
      def step(example):
        alone = {"h": example[None]}
        return w - eta * sam_grad(w, alone, jnp.float64(rho))[1]

      return jnp.mean(jnp.sum(jax.vmap(step)(jnp.asarray(h)) ** 2, axis=-1))

    worst = np.linalg.eigh(printed_matrix(h, eta, rho))[1][:, -1]
    growth = mean_square_after_a_step(jnp.array(worst))
    assert value == pytest.approx(float(growth), rel=1e-6)
    for w in np.random.default_rng(7).normal(size=(10, 4)):
      growth = mean_square_after_a_step(jnp.array(w)) / (w @ w)
      assert float(growth) <= value + 1e-9


@pytest.mark.parametrize("excess", [-0.1, 0.1])
def test_simulated_linear_regression_grows_as_the_value_says(excess):
  # Orthogonal inputs of one length, so that the edge is sharp and all examples
  # share it: eta c (1 + rho c) = 2.
  dim, c, rho, num_steps, replicas = 4, 1.5, 0.3, 30, 20_000
  eta = (2 + excess) / (c * (1 + rho * c))
  h = c * np.eye(dim)[:, :, None] * np.eye(dim)[:, None]
  with jax.enable_x64():
    objective = quadratic(h)
    got = moments.stability(objective, objective.weights, eta, rho)
  assert got.stable == (excess < 0)
  rng = np.random.default_rng(8)
  x = rng.normal(size=(replicas, dim))
  start = np.mean(np.sum(x**2, 1))
  for example in rng.integers(0, dim, (num_steps, replicas)):
    seen = np.zeros_like(x)
    seen[np.arange(replicas), example] = 1
    x_up = x + rho * c * seen * x
    x = x - eta * c * seen * x_up
  growth = (np.mean(np.sum(x**2, 1)) / start) ** (1 / num_steps)
  assert growth == pytest.approx(got.value, abs=0.005)


@pytest.mark.parametrize("step", [0.5, 2 + 1e-6])
def test_what_is_within_the_error_of_1_is_not_decided(step):
  """In float32 one example moves one of four weights; the others stay at 1."""
  h = np.diag([1.0, 0, 0, 0])[None]
  objective = quadratic(h.astype(np.float32))
  got = moments.stability(objective, objective.weights, step, 0.0)
  assert got.value == pytest.approx(1, abs=1e-5)
  assert got.error < 1e-4
  assert got.stable is None


def test_the_condition_is_sufficient_but_not_necessary():
  # One direction of E||x||^2 grows in the first step, and still all vanish:
  # the covariance S of x goes to the mean of A_i S A_i, whose spectral radius
  # decides.
  def growths(h):
    steps = steps_of(h, eta, rho)
    first = largest(np.mean(steps @ steps, 0))
    covariance = np.mean([np.kron(a, a) for a in steps], 0)
    return first, max(abs(np.linalg.eigvals(covariance)))

  eta, rho = 1.0, 0.2
  x = np.array([[1.0, 0], [math.cos(0.6), math.sin(0.6)]])
  curvatures = np.array([1.6, 1.0])[:, None, None]
  first, later = growths(curvatures * x[:, :, None] * x[:, None])
  assert later < 0.9 < 1.04 < first
  for seed in range(20):
    first, later = growths(regression(seed))
    assert later <= first + 1e-9


def scaled_to_the_edge(h, eta, rho):
  """Scales h up to where the largest eigenvalue leaves 1."""
  low, high = 0.0, 1.0
  for _ in range(40):
    scale = (low + high) / 2 if high - low < 1 else high
    if largest(printed_matrix(scale * h, eta, rho)) <= 1 + 1e-12:
      low, high = scale, max(high, 2 * scale)
    else:
      high = scale
  return low * h


def moments_of(h):
  roots = [max(largest(power_gap(h, k)), 0) ** (1 / k) for k in (2, 3, 4)]
  return largest(np.mean(h, 0)), *roots


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5])
def test_bounds_follow_from_the_condition(ratio):
  eta = 0.5
  rho = ratio * eta
  bounds = moments.stability_bounds(eta, rho)
  rng = np.random.default_rng(9)
  nearest = 0.0
  for seed in range(15):
    diagonal = rng.exponential(size=(4, 3)) * (rng.random((4, 3)) < 0.5)
    diagonal[0, 0] = 1
    for h in (diagonal[:, :, None] * np.eye(3), regression(seed, 4, 3)):
      a, s_2, s_3, s_4 = moments_of(scaled_to_the_edge(h, eta, rho))
      assert a * (1 + rho * a) <= bounds.a_term + 1e-6
      assert a <= bounds.a + 1e-6
      assert s_2 <= bounds.s_2
      assert s_3 <= bounds.s_3
      assert s_4 <= bounds.s_4
      nearest = max(nearest, s_2 / bounds.s_2, s_3 / bounds.s_3)
  # They are not so loose that a wrong factor could hide.
  assert nearest > 0.6
  # Where all examples agree the first is the condition itself.
  same = np.full((3, 1, 1), bounds.a)
  assert bounds.a * (1 + rho * bounds.a) == pytest.approx(bounds.a_term)
  assert largest(printed_matrix(same, eta, rho)) == pytest.approx(1)
  assert largest(printed_matrix(1.01 * same, eta, rho)) > 1.01


def test_bounds_that_say_nothing_are_infinite():
  assert moments.stability_bounds(0.1, 0.0) == pytest.approx(
    (20, 20, 10, math.inf, math.inf)
  )
  assert moments.stability_bounds(0.1, 0.05).s_2 == math.inf
  assert moments.stability_bounds(0.1, 0.2).s_2 == math.inf
  got = moments.stability_bounds(0.1, 0.04)
  assert got.s_2**2 == pytest.approx(1 / (0.1 * (0.1 - 0.08)))
  assert got.s_3**3 == pytest.approx(1 / (2 * 0.01 * 0.04))
  assert got.s_4**4 == pytest.approx(1 / (0.01 * 0.0016))


def test_large_rho_breaks_the_bound_of_s_4_alone():
  # Curvatures 0 and h at the edge eta h (1 + rho h) = 2, in every proportion.
  eta = 0.1
  for ratio, broken in itertools.product((1, 4, 20), (2, 3, 4)):
    rho = ratio * eta
    bounds = moments.stability_bounds(eta, rho)
    worst = 0.0
    for count in range(1, 10):
      h = np.where(np.arange(10) < count, bounds.a, 0)[:, None, None]
      assert largest(printed_matrix(h, eta, rho)) <= 1 + 1e-9
      worst = max(worst, moments_of(h)[broken - 1] / bounds[broken])
    assert (worst > 1) == (broken == 4 and ratio == 20)
