"""Eigenvalues of a symmetric operator by the Lanczos method.

The operator H is a function `matvec` from a vector [d] to H times it; no
[d, d] matrix is formed. Lanczos (1950), with Gram-Schmidt taken twice at every
step; thick restart of Wu and Simon (2000). The small matrices live on the host
in float64, the vectors on the device.
"""

from collections.abc import Callable
import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import linalg

# Two steps on a random vector of many dimensions can look like convergence.
_MIN_STEPS = 10

# What is wanted most has the largest of these.
_MERIT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "largest": lambda x: x,
  "smallest": lambda x: -x,
  "magnitude": np.abs,
}


@dataclasses.dataclass(frozen=True)
class Eigenpairs:
  """Eigenvalues with their eigenvectors, the most wanted first.

  Attributes:
    values: with their signs, [k].
    vectors: orthonormal rows, [k, d].
    residuals: ||H v - value v|| of each, [k], from a product of its own.
    converged: whether it is at most tolerance times `norm`, [k].
    norm: largest ||H v|| seen for a unit vector v: a lower bound of ||H||,
      close to it after a few steps.
    num_matvecs: products with H.
  """

  values: np.ndarray
  vectors: jax.Array
  residuals: np.ndarray
  converged: np.ndarray
  norm: float
  num_matvecs: int


class _Solver:
  """Lanczos searches in the complement of the eigenvectors found so far.

  The rows of `basis` are those eigenvectors, then the search, then zeros.

  Attributes:
    found: eigenvalues found, the most wanted first.
    norm: see `Eigenpairs`.
    num_steps: products with H.
  """

  def __init__(
    self,
    matvec: linalg.MatVec,
    basis: jax.Array,
    merit: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    max_steps: int,
  ):
    self._matvec = matvec
    self.basis = basis
    self._merit = merit
    self._tolerance = tolerance
    self._max_steps = max_steps
    self._noise = linalg.noise(basis.dtype)
    self.found = np.zeros(0)
    self.norm = 0.0
    self.num_steps = 0

  @property
  def exhausted(self) -> bool:
    dim = self.basis.shape[1]
    return self.num_steps >= self._max_steps or len(self.found) == dim

  def search(
    self, start: jax.Array, count: int, min_steps: int, *, beat: bool = False
  ) -> bool:
    """Looks for more eigenvectors, orthogonal to those found.

    Ends when `count` have converged, when the space searched is found to be
    invariant, which may have fewer, or with the budget.

    Args:
      start: random vector, [d].
      count: eigenvectors wanted.
      min_steps: to take before convergence is believed.
      beat: also end after `min_steps` if nothing more wanted than the last
        found is in sight; and keep as many as were found, the best.

    Returns:
      Whether something was found (with `beat`: something better).
    """
    num_rows, dim = self.basis.shape
    first = len(self.found)
    bar = np.inf
    if beat:
      margin = self._tolerance * self.norm
      bar = self._merit(self.found)[-1] + margin
    projected = np.zeros((num_rows, num_rows))
    _, rest, _ = linalg.orthogonalize(self.basis, start)
    size = 0
    for step in itertools.count(1):
      self.basis, vector = linalg.append(self.basis, rest, first + size)
      product = self._matvec(vector)
      coefficients, rest, norms = linalg.orthogonalize(self.basis, product)
      length, remainder = linalg.read_norms(norms)
      self.norm = max(self.norm, length)
      self.num_steps += 1
      size += 1
      column = np.asarray(coefficients, np.float64)[first : first + size]
      projected[size - 1, :size] = projected[:size, size - 1] = column
      values, rotation = np.linalg.eigh(projected[:size, :size])
      order = np.argsort(-self._merit(values), kind="stable")
      best = order[:count]

      residuals = remainder * np.abs(rotation[-1, best])
      settled = bool(np.all(residuals <= self._tolerance * self.norm))
      better = not beat or self._merit(values)[order[0]] > bar
      enough = step >= min_steps and size >= count
      if (
        first + size == dim
        or remainder <= self._noise * self.norm
        or self.num_steps >= self._max_steps
        or (enough and (settled or not better))
      ):
        break
      if first + size == num_rows:
        kept = order[: max(count, size // 2)]
        self._keep(np.arange(first), rotation[:, kept])
        size = len(kept)
        projected[:] = 0
        projected[range(size), range(size)] = values[kept]

    if not better:
      return False
    merged = np.concatenate([self.found, values[best]])
    order = np.argsort(-self._merit(merged), kind="stable")
    if beat:
      order = order[:first]
    self._keep(np.arange(first), rotation[:, best])
    self._keep(order)
    self.found = merged[order]
    return True

  def _keep(
    self, rows: np.ndarray, combinations: np.ndarray | None = None
  ) -> None:
    """Keeps rows in this order, then combinations of those that follow them.

    Args:
      rows: indices of rows.
      combinations: [m, n], of the m rows after the first len(rows); none: no
        more rows.
    """
    rotation = np.zeros((len(self.basis),) * 2)
    rotation[np.arange(len(rows)), rows] = 1
    if combinations is not None:
      m, n = combinations.shape
      at = len(rows)
      rotation[at : at + n, at : at + m] = combinations.T
    self.basis = linalg.rotate(self.basis, rotation)


def top_eigenpairs(
  matvec: linalg.MatVec,
  dim: int,
  k: int = 1,
  *,
  which: str = "largest",
  seed: int = 0,
  tolerance: float = 1e-4,
  max_steps: int = 300,
  basis_size: int | None = None,
  dtype: Any = jnp.float32,
) -> Eigenpairs:
  """Returns the k most wanted eigenvalues of H, with eigenvectors.

  An eigenvalue that is one of several equal ones is invisible to a Krylov
  space beyond its first vector. So an invariant space ends a search but not
  the work: a new one starts from a random vector orthogonal to what was found,
  and with k > 1 one more search, as long as the longest before it, looks for
  something overlooked. It costs up to as much again.

  Memory: basis_size vectors, seven more, and what `matvec` takes; at the end,
  when the basis is gone, 4 k vectors.

  Args:
    matvec: H, from [d] to [d].
    dim: d.
    k: number of eigenvalues, at most d.
    which: 'largest' or 'smallest', with sign; 'magnitude': largest modulus.
    seed: of the random start vectors.
    tolerance: largest residual ||H v - value v|| over the norm of H. The error
      of a value is at most its residual.
    max_steps: products with H; k more measure the residuals.
    basis_size: vectors kept, at least k + 2, after which the search restarts
      from the better half; by default the larger of 2 k + 10 and 30.
    dtype: of the vectors.

  Raises:
    ValueError: k, which, max_steps or basis_size is not as described.
    FloatingPointError: a product is not finite.
  """
  if not 1 <= k <= dim:
    raise ValueError(f"k={k} is not between 1 and the {dim} dimensions")
  if which not in _MERIT:
    raise ValueError(f"which={which!r} is none of {', '.join(_MERIT)}")
  if max_steps < k:
    raise ValueError(f"max_steps={max_steps} is less than k={k}")
  num_rows = max(2 * k + 10, 30) if basis_size is None else basis_size
  if num_rows < k + 2:
    raise ValueError(f"basis_size={basis_size} is less than k + 2={k + 2}")

  merit = _MERIT[which]
  basis = jnp.zeros((min(num_rows, dim), dim), dtype)
  solver = _Solver(matvec, basis, merit, tolerance, max_steps)
  del basis
  starts = (
    linalg.random_vector(seed, i, dim, dtype) for i in itertools.count()
  )
  longest = 0
  while len(solver.found) < k:
    before = solver.num_steps
    solver.search(next(starts), k - len(solver.found), _MIN_STEPS)
    longest = max(longest, solver.num_steps - before)
  while (
    k > 1
    and not solver.exhausted
    and solver.search(next(starts), 1, longest, beat=True)
  ):
    pass

  rows = [solver.basis[i] for i in range(k)]
  num_steps, norm = solver.num_steps, solver.norm
  del solver
  products = [matvec(row) for row in rows]
  projected = np.asarray(_projected(rows, products), np.float64)
  values, rotation = np.linalg.eigh((projected + projected.T) / 2)
  order = np.argsort(-merit(values), kind="stable")
  values, rotation = values[order], rotation[:, order].T
  vectors, norms = _eigenvectors(rows, products, values, rotation)
  residuals = np.asarray(norms, np.float64)
  return Eigenpairs(
    values=values,
    vectors=vectors,
    residuals=residuals,
    converged=residuals <= tolerance * norm,
    norm=norm,
    num_matvecs=num_steps + k,
  )


@jax.jit
def _projected(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
  return linalg.inner_products(jnp.stack(a), jnp.stack(b))


@jax.jit
def _eigenvectors(
  rows: list[jax.Array],
  products: list[jax.Array],
  values: np.ndarray,
  rotation: np.ndarray,
) -> tuple[jax.Array, jax.Array]:
  """Returns rotation @ rows, [k, d], and their residuals, [k]."""
  dtype = rows[0].dtype
  rotation_KxK = jnp.asarray(rotation, dtype)
  vectors = linalg.matmul(rotation_KxK, jnp.stack(rows))
  errors = linalg.matmul(rotation_KxK, jnp.stack(products))
  errors = errors - jnp.asarray(values, dtype)[:, None] * vectors
  return vectors, jnp.stack([linalg.norm(error) for error in errors])
