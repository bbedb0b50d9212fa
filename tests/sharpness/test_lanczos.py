"""Lanczos against dense eigenvalues, on networks and on awkward matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import lanczos
from sharpness import objective
from tests import operators


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64():
    yield


def top(dense, k, which="largest", **kwargs):
  found = lanczos.top_eigenpairs(
    operators.Operator(dense),
    len(dense),
    k,
    which=which,
    dtype=jnp.float64,
    **kwargs,
  )
  vectors = np.asarray(found.vectors)
  np.testing.assert_allclose(vectors @ vectors.T, np.eye(k), atol=1e-10)
  residuals = vectors @ dense - found.values[:, None] * vectors
  np.testing.assert_allclose(
    found.residuals, np.linalg.norm(residuals, axis=1), atol=1e-12
  )
  return found


def wanted(eigenvalues, k, which):
  merit = {"largest": -eigenvalues, "smallest": eigenvalues}
  merit["magnitude"] = -np.abs(eigenvalues)
  return eigenvalues[np.argsort(merit[which], kind="stable")][:k]


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("name", operators.SPECTRA)
def test_top_eigenpairs_have_sign_order_and_multiplicity(name, which):
  dense = operators.matrix(operators.SPECTRA[name])
  for k in (1, 5):
    found = top(dense, k, which, tolerance=1e-9)
    want = wanted(np.linalg.eigvalsh(dense), k, which)
    if which == "magnitude":  # Signs of a tie may come in either order.
      np.testing.assert_allclose(abs(found.values), abs(want), atol=1e-7)
    else:
      np.testing.assert_allclose(found.values, want, atol=1e-7)
    assert found.converged.all()


def test_all_eigenvalues_and_one_dimension():
  eigenvalues = np.array([3.0, 3.0, 0.0, 0.0, -1.0, 2.0])
  found = top(operators.matrix(eigenvalues), 6)
  np.testing.assert_allclose(found.values, [3, 3, 2, 0, 0, -1], atol=1e-10)
  for value in (-2.5, 0.0):
    found = top(np.array([[value]]), 1, "magnitude")
    np.testing.assert_allclose(found.values, [value], atol=1e-15)
    assert found.converged.all()
  with pytest.raises(ValueError, match="k=2 is not between 1 and the 1"):
    top(np.eye(1), 2)


def test_restarts_in_a_small_basis():
  # Equal values outlast the first search, though no space is invariant.
  eigenvalues = np.concatenate([np.linspace(-1, 1, 296), [3, 3, 1.5, -4]])
  dense = operators.matrix(eigenvalues)
  want = np.array([3, 3, 1.5])
  found = top(dense, 3, basis_size=10, tolerance=1e-6)
  np.testing.assert_allclose(found.values, want, atol=4e-6)
  assert found.converged.all()
  assert found.num_matvecs > 20
  assert found.norm == pytest.approx(4, rel=0.3)
  # Orthogonality holds in spite of restarts, over many more steps than rows.
  smallest = top(dense, 3, "smallest", basis_size=10, tolerance=1e-10)
  assert smallest.converged[0]
  assert smallest.values[0] == pytest.approx(-4, abs=1e-9)


def test_long_float32_vectors():
  dim = 70_001  # Several blocks and a rest.
  eigenvalues = np.linspace(-1, 1, dim, dtype=np.float32)
  eigenvalues[[5, 40_000, 70_000]] = 1.6, 1.5, -2
  diagonal = jnp.asarray(eigenvalues)
  found = lanczos.top_eigenpairs(
    jax.jit(lambda v: diagonal * v), dim, 2, basis_size=8
  )
  assert found.num_matvecs > 2 * 8
  assert found.converged.all()
  np.testing.assert_allclose(found.values, [1.6, 1.5], rtol=1e-5)
  vectors = np.asarray(found.vectors, np.float64)
  np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=3e-6)
  assert vectors[0, 5] ** 2 > 0.999
  residuals = vectors * eigenvalues - found.values[:, None] * vectors
  np.testing.assert_allclose(
    found.residuals, np.linalg.norm(residuals, axis=1), rtol=1e-3, atol=1e-6
  )


def test_convergence_is_claimed_only_where_the_residual_is_small():
  dense = operators.matrix(np.linspace(-1, 1, 300))
  found = top(dense, 3, max_steps=8, basis_size=10)
  assert found.num_matvecs == 11
  assert not found.converged.any()
  assert (found.residuals > 1e-4 * found.norm).all()

  # Symmetric as far as the search can see, another operator at the end.
  operator = operators.Operator(operators.matrix(operators.SPECTRA["rank 3"]))

  def turning(v):
    if len(operator.inputs) == 4:
      operator.dense = operator.dense + np.diag(
        np.arange(operators.DIM) / operators.DIM
      )
    return operator(v)

  found = lanczos.top_eigenpairs(turning, operators.DIM, dtype=jnp.float64)
  assert len(operator.inputs) == found.num_matvecs == 5
  assert not found.converged[0]

  with pytest.raises(FloatingPointError, match="not finite"):
    top(np.full((operators.DIM, operators.DIM), np.nan), 1)


def predict(params, model_state, batch):
  del model_state
  return jnp.tanh(batch["x"] @ params["w1"] + params["b1"][None]) @ params["w2"]


def loss(outputs, batch):
  chosen = jnp.take_along_axis(outputs, batch["y"][:, None], 1)[:, 0]
  return jax.nn.logsumexp(outputs, 1) - chosen


def network(masked: bool, dtype: str):
  """Returns the objective of a tanh network, and its dense Hessian."""
  rng = np.random.default_rng(3)
  shapes = {"b1": (5,), "w1": (3, 5), "w2": (5, 2)}
  params = {k: rng.normal(size=s).astype(dtype) for k, s in shapes.items()}
  x, y = rng.normal(size=(11, 3)).astype(dtype), rng.integers(0, 2, 11)
  keep = {k: rng.random(s) < 0.6 for k, s in shapes.items()} if masked else None
  batches = [{"x": x[i : i + 5], "y": y[i : i + 5]} for i in (0, 5, 10)]
  target = objective.Objective(predict, loss, params, batches, mask=keep)

  flat = np.concatenate([params[k].ravel() for k in shapes]).astype(float)
  kept = np.ones(len(flat), bool)
  if masked:
    kept = np.concatenate([keep[k].ravel() for k in shapes])

  def mean_loss(w):
    hidden = jnp.tanh(x @ w[5:20].reshape(3, 5) + w[None, :5])
    log_p = jax.nn.log_softmax(hidden @ w[20:].reshape(5, 2))
    return -jnp.mean(log_p[np.arange(11), y])

  dense = np.asarray(jax.jit(jax.hessian(mean_loss))(flat * kept))
  return target, dense[np.ix_(kept, kept)]


@pytest.mark.parametrize(
  ("masked", "dtype"), [(False, "float32"), (True, "float64")]
)
def test_network_in_uneven_batches(masked, dtype):
  target, dense = network(masked, dtype)
  assert target.dim == len(dense)
  eigenvalues = np.linalg.eigvalsh(dense)
  assert eigenvalues[0] < -1e-3 < 1e-3 < eigenvalues[-1]
  bound = 1e-4 * np.linalg.norm(dense)
  matvec = functools.partial(target.hvp, target.weights)
  for which in ("largest", "smallest"):
    found = lanczos.top_eigenpairs(
      matvec, target.dim, 3, which=which, dtype=dtype
    )
    want = wanted(eigenvalues, 3, which)
    np.testing.assert_allclose(found.values, want, rtol=0, atol=bound)
    assert found.converged.all()
    vectors = np.asarray(found.vectors)
    residuals = vectors @ dense - found.values[:, None] * vectors
    assert np.linalg.norm(residuals, axis=1).max() < bound
