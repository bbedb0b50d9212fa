"""The density of the eigenvalues of a symmetric operator, by quadrature.

The operator H is a function `matvec` from a vector [d] to H times it. The
stochastic Lanczos quadrature of Ghorbani, Krishnan and Xiao (2019), with
Gram-Schmidt taken twice at every step.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import linalg


@dataclasses.dataclass(frozen=True)
class Tridiagonal:
  """An orthonormal basis V [n, d] of a Krylov space, and V H V^T.

  Attributes:
    alphas: diagonal of V H V^T, [n].
    betas: its other two diagonals, [n - 1].
    basis: V, [n, d].
    remainder: norm of what H adds to the space of V; 0 up to rounding if H
      maps that space to itself.
    breakdown: whether it does, so that the eigenvalues of V H V^T are
      eigenvalues of H.
  """

  alphas: np.ndarray
  betas: np.ndarray
  basis: jax.Array
  remainder: float
  breakdown: bool

  @property
  def matrix(self) -> np.ndarray:
    """V H V^T, [n, n]."""
    above = np.diag(self.betas, 1)
    return np.diag(self.alphas) + above + above.T


@dataclasses.dataclass(frozen=True)
class Density:
  """Weighted eigenvalues, one row a probe; see `spectral_density`.

  Attributes:
    nodes: Ritz values, [p, n].
    weights: of the nodes, [p, n]; each row sums to 1.
  """

  nodes: np.ndarray
  weights: np.ndarray


def tridiagonalize(
  matvec: linalg.MatVec, start: jax.Array, num_steps: int
) -> Tridiagonal:
  """Takes Lanczos steps from a vector.

  Stops early, with an exact result, where H maps the space found to itself.

  Args:
    matvec: H.
    start: [d], not zero; its length does not matter.
    num_steps: products with H and vectors kept; more than d are not taken.

  Raises:
    ValueError: zero `start`, or no steps.
    FloatingPointError: a product is not finite.
  """
  num_steps = min(num_steps, start.size)
  if num_steps < 1:
    raise ValueError(f"num_steps={num_steps} is less than 1")
  if not float(jnp.linalg.norm(start)) > 0:
    raise ValueError("the start vector is zero or not finite")
  noise = linalg.noise(start.dtype)
  basis = jnp.zeros((num_steps, start.size), start.dtype)
  alphas: list[float] = []
  betas: list[float] = []
  rest = start + 0  # A copy, as `append` uses it up.
  largest = 0.0
  for step in range(num_steps):
    basis, vector = linalg.append(basis, rest, step)
    coefficients, rest, norms = linalg.orthogonalize(basis, matvec(vector))
    length, remainder = linalg.read_norms(norms)
    largest = max(largest, length)
    alphas.append(float(coefficients[step]))
    betas.append(remainder)
    breakdown = step + 1 == start.size or remainder <= noise * largest
    if breakdown:
      break
  return Tridiagonal(
    alphas=np.array(alphas),
    betas=np.array(betas[:-1]),
    basis=basis[: len(alphas)],
    remainder=remainder,
    breakdown=breakdown,
  )


def spectral_density(
  matvec: linalg.MatVec,
  dim: int,
  num_probes: int = 10,
  num_steps: int = 60,
  seed: int = 0,
  dtype: Any = jnp.float32,
) -> Density:
  """Estimates the distribution of eigenvalues, by Lanczos quadrature.

  For a random unit vector v (uniform on the sphere), nodes and weights satisfy
  sum weights p(nodes) = v^T p(H) v for every polynomial p of degree less than
  2 num_steps; its mean over v is tr p(H) / d.

  Memory: num_steps vectors, seven more, and what `matvec` takes.

  Args:
    matvec: H, from [d] to [d].
    dim: d.
    num_probes: random vectors.
    num_steps: products with H, and nodes, of each. Where a probe needs fewer,
      the last node is repeated with weight 0.
    seed: of the random vectors.
    dtype: of the vectors.

  Raises:
    ValueError: no probes or no steps.
    FloatingPointError: a product is not finite.
  """
  if num_probes < 1:
    raise ValueError(f"num_probes={num_probes} is less than 1")
  num_steps = min(num_steps, dim)
  nodes = np.zeros((num_probes, num_steps))
  weights = np.zeros((num_probes, num_steps))
  for i in range(num_probes):
    probe = linalg.random_vector(seed, i, dim, dtype)
    ritz, vectors = np.linalg.eigh(
      tridiagonalize(matvec, probe, num_steps).matrix
    )
    nodes[i] = np.pad(ritz, (0, num_steps - len(ritz)), "edge")
    weights[i, : len(ritz)] = vectors[0] ** 2
  return Density(nodes, weights)


def smooth(
  density: Density, grid: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
  """Smooths a density by a Gaussian; its integral over the line is 1.

  Args:
    density: see `spectral_density`.
    grid: eigenvalues at which to evaluate, [g].
    width: standard deviation of the Gaussian, in units of the eigenvalues.

  Returns:
    The mean over probes and its standard error (NaN for one probe), [g] each,
    in units of 1 / eigenvalue.

  Raises:
    ValueError: `width` is not positive.
  """
  if not width > 0:
    raise ValueError(f"width={width} is not positive")
  curves = []
  for nodes, weights in zip(density.nodes, density.weights, strict=True):
    distances = (np.asarray(grid)[:, None] - nodes[None, :]) / width
    curves.append(np.exp(-(distances**2) / 2) @ weights)
  curves_PxG = np.array(curves) / (width * np.sqrt(2 * np.pi))
  mean = curves_PxG.mean(0)
  if len(curves_PxG) == 1:
    return mean, np.full_like(mean, np.nan)
  return mean, curves_PxG.std(0, ddof=1) / np.sqrt(len(curves_PxG))
