"""Quadrature against the moments of dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import quadrature
from tests import operators


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64():
    yield


@pytest.mark.parametrize(
  ("name", "num_steps", "want_steps"),
  [
    ("indefinite", 12, 12),
    ("indefinite", 99, operators.DIM),
    ("rank 3", 99, 4),
    ("zero", 99, 1),
    ("identity", 99, 1),
  ],
)
def test_tridiagonalize(name, num_steps, want_steps):
  dense = operators.matrix(operators.SPECTRA[name])
  start = jnp.asarray(np.random.default_rng(1).normal(size=operators.DIM))
  result = quadrature.tridiagonalize(
    operators.Operator(dense), start, num_steps
  )
  basis = np.asarray(result.basis)
  assert basis.shape == (want_steps, operators.DIM)
  assert result.breakdown == (num_steps == 99)
  np.testing.assert_allclose(basis[0], start / np.linalg.norm(start))
  np.testing.assert_allclose(basis @ basis.T, np.eye(want_steps), atol=1e-12)
  np.testing.assert_allclose(basis @ dense @ basis.T, result.matrix, atol=1e-12)
  rest = dense @ basis.T - basis.T @ result.matrix
  assert np.linalg.norm(rest) == pytest.approx(result.remainder, abs=1e-11)


def test_quadrature_of_one_probe():
  dense = operators.matrix(operators.SPECTRA["indefinite"])
  operator = operators.Operator(dense)
  density = quadrature.spectral_density(
    operator, operators.DIM, 3, 6, dtype=jnp.float64
  )
  probes = operator.inputs[::6]
  for v, nodes, weights in zip(
    probes, density.nodes, density.weights, strict=True
  ):
    for power in range(12):  # Gauss: exact for degrees below 2 x 6.
      moment = v @ np.linalg.matrix_power(dense, power) @ v
      assert weights @ nodes**power == pytest.approx(
        moment, abs=1e-9 * 3**power
      )


def test_density_moments_over_probes():
  eigenvalues = operators.SPECTRA["triple"]
  density = quadrature.spectral_density(
    operators.Operator(operators.matrix(eigenvalues)),
    operators.DIM,
    50,
    8,
    dtype=jnp.float64,
  )
  # Four different eigenvalues: exact after as many steps.
  assert np.count_nonzero(density.weights > 1e-12) == 50 * 4
  for power in (1, 2):
    moments = np.sum(density.weights * density.nodes**power, 1)
    error = np.mean(moments) - np.mean(eigenvalues**power)
    assert abs(error) < 2.5 * np.std(moments, ddof=1) / np.sqrt(50)

  grid = np.linspace(-8, 8, 4001)
  mean, stderr = quadrature.smooth(density, grid, width=0.1)
  step = grid[1] - grid[0]
  assert np.sum(mean) * step == pytest.approx(1, abs=1e-9)
  assert np.sum(mean[grid < 0]) * step == pytest.approx(
    1 / operators.DIM, rel=0.5
  )
  assert np.sum(mean * grid**2) * step == pytest.approx(
    np.mean(moments) + 0.1**2, rel=1e-9
  )
  # Twice as many probes of the same kind: half the variance.
  half = quadrature.Density(density.nodes[:25], density.weights[:25])
  ratio = quadrature.smooth(half, grid, 0.1)[1].max() / stderr.max()
  assert 1.1 < ratio < 1.8


@pytest.mark.parametrize("name", ["zero", "identity", "minus identity"])
def test_density_of_multiples_of_the_identity(name):
  density = quadrature.spectral_density(
    operators.Operator(operators.matrix(operators.SPECTRA[name])),
    operators.DIM,
    2,
    5,
    dtype=jnp.float64,
  )
  np.testing.assert_allclose(density.weights.sum(1), 1)
  np.testing.assert_allclose(
    density.nodes, operators.SPECTRA[name][0], atol=1e-12
  )
