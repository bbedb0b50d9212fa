"""Traces of a symmetric operator by random probes, with standard errors.

The operator H is a function `matvec` from a vector [d] to H times it.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import linalg


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over random probes.

  Attributes:
    value: the mean.
    stderr: its standard error.
    num_probes: random vectors it is a mean over.
  """

  value: float
  stderr: float
  num_probes: int


def _mean(samples: np.ndarray) -> Estimate:
  n = len(samples)
  stderr = np.std(samples, ddof=1) / np.sqrt(n)
  return Estimate(float(np.mean(samples)), float(stderr), n)


@jax.jit
def _dots(v: jax.Array, product: jax.Array) -> jax.Array:
  return linalg.inner_products(jnp.stack([v, product]), product[None])[:, 0]


def hutchinson(
  matvec: linalg.MatVec,
  dim: int,
  num_probes: int = 32,
  seed: int = 0,
  probe: str = "rademacher",
  dtype: Any = jnp.float32,
) -> tuple[Estimate, Estimate]:
  """Estimates tr H and tr H^2 from the same products.

  They are the means of v^T H v and ||H v||^2 over random v with mean 0 and
  covariance I (Hutchinson, 1990). Memory: two vectors, and what `matvec` takes.

  Args:
    matvec: H, from [d] to [d].
    dim: d.
    num_probes: random vectors, and products with H; at least 2.
    seed: of the random vectors.
    probe: 'rademacher': signs, for which the trace of a diagonal H is exact;
      'normal': standard normal.
    dtype: of the vectors.

  Raises:
    ValueError: unknown `probe`, or fewer than 2.
  """
  if num_probes < 2:
    raise ValueError(f"num_probes={num_probes} is less than 2")
  samples = np.zeros((num_probes, 2))
  for i in range(num_probes):
    v = linalg.random_vector(seed, i, dim, dtype, probe)
    samples[i] = _dots(v, matvec(v))
  return _mean(samples[:, 0]), _mean(samples[:, 1])


def frobenius_norm(squared: Estimate) -> Estimate:
  """Returns ||H||_F for an estimate of tr H^2.

  The standard error is that of the root to first order: stderr / (2 value).
  """
  value = np.sqrt(squared.value)
  stderr = squared.stderr / (2 * value) if value > 0 else 0.0
  return Estimate(float(value), float(stderr), squared.num_probes)


def xtrace(
  matvec: linalg.MatVec,
  dim: int,
  num_probes: int = 32,
  seed: int = 0,
  dtype: Any = jnp.float32,
) -> Estimate:
  """Estimates tr H by XTrace (Epperly, Tropp and Webber, 2024).

  For each of n random vectors, the trace over the range of H times the others
  is taken exactly, and what is left of it estimated by that vector, projected
  and scaled to the sphere of the complement. The estimate is the mean of these
  n; all come from 2 n products. It is exact up to rounding if the rank of H is
  less than n, or H is a multiple of the identity.

  The standard error is the jackknife's, from the n estimates that leave one
  vector out entirely. It is too large rather than too small (Efron and Stein,
  1981), the more so the faster the eigenvalues decay. The paper's own takes the
  n terms for independent; where n is close to the number of eigenvalues that
  matter, true errors were seen to be up to 1.8 times that.

  Memory: n vectors, seven more, and what `matvec` takes; n^2 / 2 singular value
  decompositions of [n, n] on the host.

  Args:
    matvec: H, from [d] to [d].
    dim: d.
    num_probes: the most products with H, 2 n or 2 n + 1; at least 6.
    seed: of the random vectors.
    dtype: of the vectors.

  Returns:
    The estimate; its num_probes is n.

  Raises:
    ValueError: fewer than 6 probes.
    FloatingPointError: a product is not finite.
  """
  n = num_probes // 2
  if n < 3:
    raise ValueError(f"num_probes={num_probes} is less than 6")
  noise = linalg.noise(dtype)

  # H omega_i = Q r_i: a QR factorization by Gram-Schmidt, in which a product
  # that depends on those before it adds no row to the basis Q^T.
  basis = jnp.zeros((n, dim), dtype)
  r = np.zeros((n, n))
  rank = 0
  for i in range(n):
    product = matvec(linalg.random_vector(seed, i, dim, dtype))
    r[:, i], rest, norms = linalg.orthogonalize(basis, product)
    length, remainder = linalg.read_norms(norms)
    if rank < dim and remainder > noise * length:
      basis, _ = linalg.append(basis, rest, rank)
      r[rank, i] = remainder
      rank += 1

  h = np.zeros((n, n))  # Q^T H Q.
  for i in range(rank):
    h[:, i] = linalg.orthogonalize(basis, matvec(basis[i]))[0]
  h = (h + h.T) / 2
  w = np.zeros((n, n))  # Q^T omega.
  outside = np.zeros(n)  # ||omega - Q w||^2.
  for i in range(n):
    probe = linalg.random_vector(seed, i, dim, dtype)
    w[:, i], _, norms = linalg.orthogonalize(basis, probe)
    outside[i] = float(norms[1]) ** 2

  r, h, w = r[:rank], h[:rank, :rank], w[:rank]
  gaps = h @ w - r  # Q^T H (Q w - omega).
  trace_h = np.trace(h)
  tiny = noise * float(np.linalg.norm(r))

  def term(i: int, lost: np.ndarray) -> float:
    """The estimate by probe i, whose basis is Q less Q `lost`."""
    # Of omega is left (omega - Q w) + Q lost a.
    a = lost.T @ w[:, i]
    lost_h = lost.T @ h @ lost
    form = w[:, i] @ gaps[:, i] - 2 * a @ (lost.T @ gaps[:, i]) + a @ lost_h @ a
    complement = dim - rank + lost.shape[1]
    square = outside[i] + a @ a
    scale = complement / square if complement and square else 0.0
    return trace_h - np.trace(lost_h) + form * scale

  terms = [term(i, _lost(r, [i], tiny)) for i in range(n)]
  without = np.zeros((n, n))  # Row i, column j: by probe i, without probe j.
  for i, j in itertools.combinations(range(n), 2):
    lost = _lost(r, [i, j], tiny)
    without[i, j], without[j, i] = term(i, lost), term(j, lost)
  replicates = without.sum(0) / (n - 1)
  stderr = np.sqrt((n - 1) * np.var(replicates))
  return Estimate(float(np.mean(terms)), float(stderr), n)


def _lost(r: np.ndarray, columns: list[int], tiny: float) -> np.ndarray:
  """Returns what the range of r loses without these columns.

  Args:
    r: [rank, n].
    columns: indices.
    tiny: singular values up to this are 0.

  Returns:
    Orthonormal columns, [rank, l].
  """
  if not len(r):
    return np.zeros((0, 0))
  directions, sizes, _ = np.linalg.svd(np.delete(r, columns, 1))
  return directions[:, np.count_nonzero(sizes > tiny) :]
