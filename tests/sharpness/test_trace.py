"""Trace estimates against the traces, and their errors against the errors.

The criterion for both, Hutchinson with 30 probes and XTrace with 20 products:
in at least 90 of 100 trials the error is at most twice the standard error
stated, and 1e-6 ||H||_F for rounding. XTrace's is below the latter in every
trial if the rank is less than half the number of products.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import linalg
from sharpness import objective
from sharpness import trace

DIM = 60
TRIALS = 100


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64():
    yield


def network():
  """Returns the objective of a network, and its dense Hessian."""
  rng = np.random.default_rng(5)
  x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 1))
  w = rng.normal(size=DIM)

  def predict(params, model_state, batch):
    del model_state
    hidden = jnp.tanh(batch["x"] @ params["a"].reshape(4, 12))
    return hidden @ params["b"][:, None]

  def loss(outputs, batch):
    return jnp.sum((outputs - batch["y"]) ** 2, 1)

  batches = [{"x": x[:13], "y": y[:13]}, {"x": x[13:], "y": y[13:]}]
  target = objective.Objective(
    predict, loss, {"a": w[:48], "b": w[48:]}, batches
  )

  def mean_loss(w):
    outputs = jnp.tanh(x @ w[:48].reshape(4, 12)) @ w[48:, None]
    return jnp.mean((outputs - y) ** 2)

  return target, np.asarray(jax.jit(jax.hessian(mean_loss))(w))


@functools.cache
def matrices() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  q = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
  decaying = 0.7 ** np.arange(DIM)
  return {
    "indefinite": (q * rng.normal(size=DIM)) @ q.T,
    "decaying": (q * decaying) @ q.T,
    "step": (q * np.where(np.arange(DIM) < 20, 1.0, 1e-3)) @ q.T,
    "network": network()[1],
  }


_product = jax.jit(jnp.matmul)


def product(dense: np.ndarray, dtype: str = "float64"):
  return functools.partial(_product, jnp.asarray(dense, dtype))


def errors(estimate, dense: np.ndarray, num_probes: int):
  """Returns the errors and the standard errors of all trials."""
  pairs = []
  matvec = product(dense)
  for seed in range(TRIALS):
    found = estimate(matvec, DIM, num_probes, seed=seed, dtype=jnp.float64)
    pairs.append((found.value - np.trace(dense), found.stderr))
  return np.array(pairs).T


@pytest.mark.parametrize(
  ("name", "probe"),
  [
    ("indefinite", "rademacher"),
    ("decaying", "rademacher"),
    ("network", "rademacher"),
    ("network", "normal"),
  ],
)
def test_hutchinson_errors_are_as_stated(name, probe):
  dense = matrices()[name]

  def estimate(*args, **kwargs):
    return trace.hutchinson(*args, **kwargs, probe=probe)[0]

  error, stderr = errors(estimate, dense, 30)
  norm = np.linalg.norm(dense)
  assert np.sum(abs(error) <= 2 * stderr + 1e-6 * norm) >= 90
  # The variance is known: 2 ||H||_F^2 / n, without the diagonal for signs.
  off = dense - (probe == "rademacher") * np.diag(np.diag(dense))
  true = np.sqrt(2 / 30) * np.linalg.norm(off)
  assert np.sqrt(np.mean(stderr**2)) == pytest.approx(true, rel=0.15)
  assert np.sqrt(np.mean(error**2)) == pytest.approx(true, rel=0.25)


@pytest.mark.parametrize("name", ["indefinite", "network"])
def test_squared_trace_errors_are_as_stated(name):
  dense = matrices()[name]
  truth = np.linalg.norm(dense)
  matvec = product(dense)
  inside = inside_norm = 0
  for seed in range(TRIALS):
    _, squared = trace.hutchinson(matvec, DIM, 30, seed, dtype=jnp.float64)
    norm = trace.frobenius_norm(squared)
    inside += abs(squared.value - truth**2) <= 2 * squared.stderr
    inside_norm += abs(norm.value - truth) <= 2 * norm.stderr
  assert inside >= 90
  assert inside_norm >= 90


def test_rademacher_is_exact_for_diagonal_matrices():
  diagonal = np.linspace(-3, 4, DIM)
  matvec = product(np.diag(diagonal))
  found, squared = trace.hutchinson(matvec, DIM, 2, dtype=jnp.float64)
  np.testing.assert_allclose(found.value, diagonal.sum(), rtol=1e-13)
  np.testing.assert_allclose(squared.value, diagonal @ diagonal, rtol=1e-13)
  assert max(found.stderr, squared.stderr) < 1e-12
  norm = trace.frobenius_norm(trace.Estimate(16.0, 2.0, 5))
  assert norm == trace.Estimate(4.0, 0.25, 5)
  assert trace.frobenius_norm(trace.Estimate(0.0, 0.0, 5)).value == 0


@pytest.mark.parametrize("name", ["indefinite", "decaying", "step", "network"])
def test_xtrace_errors_are_as_stated(name):
  dense = matrices()[name]
  error, stderr = errors(trace.xtrace, dense, 20)
  bound = 2 * stderr + 1e-6 * np.linalg.norm(dense)
  assert np.sum(abs(error) <= bound) >= 90
  assert abs(np.mean(error)) < 4 * np.std(error) / np.sqrt(TRIALS) + 1e-9
  # Not by stating much too much.
  root_mean_squares = [np.sqrt(np.mean(x**2)) for x in (error, stderr)]
  assert 1 < root_mean_squares[1] / root_mean_squares[0] < 5
  # Better than Hutchinson with as many products, where eigenvalues decay.
  plain = np.sqrt(2 / 20) * np.linalg.norm(dense)
  if name in ("decaying", "network"):
    assert root_mean_squares[0] < plain / {"decaying": 6, "network": 1}[name]


@pytest.mark.parametrize("name", ["indefinite", "decaying"])
def test_xtrace_is_what_its_definition_says(name):
  dense, n = matrices()[name], 6
  probes = [linalg.random_vector(3, i, DIM, jnp.float64) for i in range(n)]
  omega = np.array(probes).T

  def mean(used: list[int]) -> float:
    terms = []
    for i in used:
      others = [j for j in used if j != i]
      q = np.linalg.qr(dense @ omega[:, others])[0]
      rest = omega[:, i] - q @ (q.T @ omega[:, i])
      rest *= np.sqrt(DIM - len(others)) / np.linalg.norm(rest)
      terms.append(np.trace(q.T @ dense @ q) + rest @ dense @ rest)
    return np.mean(terms)

  found = trace.xtrace(product(dense), DIM, 2 * n, seed=3, dtype=jnp.float64)
  assert found.value == pytest.approx(mean(list(range(n))), rel=1e-9)
  replicates = [mean([i for i in range(n) if i != j]) for j in range(n)]
  stderr = np.sqrt((n - 1) * np.var(replicates))
  assert found.stderr == pytest.approx(stderr, rel=1e-9)


@pytest.mark.parametrize("rank", [0, 1, 4, 6])
def test_xtrace_is_exact_for_low_rank(rank):
  q = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))[0]
  q, values = q[:, :rank], np.array([4.0, -3, 2, 1e-3, 5, -6])[:rank]
  dense = (q * values) @ q.T
  norm = np.linalg.norm(dense)
  for seed in range(20):
    found = trace.xtrace(product(dense), DIM, 14, seed=seed, dtype=jnp.float64)
    assert abs(found.value - np.trace(dense)) <= 1e-10 * norm
    assert found.stderr <= 1e-10 * norm or rank == 6
  found = trace.xtrace(product(dense, "float32"), DIM, 14)
  # With 6 of the 7 vectors in the range, rounding can hide the smallest value.
  error = abs(found.value - np.trace(dense))
  assert error <= 1e-5 * norm + (2 * found.stderr if rank == 6 else 0)


def test_xtrace_of_awkward_matrices():
  for dense in (np.eye(DIM), np.zeros((DIM, DIM)), -2 * np.eye(DIM)):
    found = trace.xtrace(product(dense), DIM, 8, dtype=jnp.float64)
    assert found.value == pytest.approx(np.trace(dense), abs=1e-10)
    assert found.stderr < 1e-10
  # As many probes as dimensions, and more.
  for dim in (1, 4, 5):
    dense = np.diag(np.arange(dim) - 1.5)
    found = trace.xtrace(product(dense), dim, 8, dtype=jnp.float64)
    assert found.num_probes == 4
    if dim <= 4:
      assert found.value == pytest.approx(np.trace(dense), abs=1e-9)
    else:
      assert abs(found.value - np.trace(dense)) < 2 * found.stderr
  # Only one probe in four sees anything but zero.
  calls = iter([1.0, 0.0, 0.0, 0.0] + [1.0] * 4)
  found = trace.xtrace(lambda v: next(calls) * v, DIM, 8, dtype=jnp.float64)
  assert np.isfinite([found.value, found.stderr]).all()
  with pytest.raises(FloatingPointError, match="not finite"):
    trace.xtrace(lambda v: v * jnp.inf, DIM)


def test_objective_in_uneven_batches():
  target, dense = network()
  matvec = functools.partial(target.hvp, target.weights)

  def estimates(matvec):
    options = dict(dim=DIM, num_probes=8, dtype=jnp.float64)
    yield from trace.hutchinson(matvec, **options)
    yield trace.xtrace(matvec, **options)

  both = zip(estimates(matvec), estimates(product(dense)), strict=True)
  for found, want in both:
    assert found.value == pytest.approx(want.value, rel=1e-9)
    assert found.stderr == pytest.approx(want.stderr, rel=1e-9)
