"""Long vectors: inner products, orthonormal bases, random probes.

The rows of a basis [m, d] are orthonormal, or zero where there is room for
more. It may fill most of a device's memory, so it is changed in its place.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# From a vector [d] to a symmetric operator H times it.
MatVec = Callable[[jax.Array], jax.Array]

# A remainder of fewer roundings than this, of what it remains from, is noise.
_NOISE_ROUNDINGS = 100
# Elements of a vector taken at a time.
_BLOCK = 2**14

# In float32 a GPU would otherwise round the factors to 10 bits.
matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
_slice = jax.lax.dynamic_slice_in_dim


def noise(dtype: Any) -> float:
  """Returns the share of a vector's norm below which a remainder is noise."""
  return _NOISE_ROUNDINGS * float(jnp.finfo(dtype).eps)


def inner_products(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns a @ b.T for rows a [m, d] and b [n, d].

  A float32 sum over 1e7 elements that meets a large one first would lose the
  small ones after it: it goes block by block, with Kahan's correction.
  """
  num_blocks = a.shape[1] // _BLOCK

  def add(i, total_and_lost):
    total, lost = total_and_lost
    part = _inner(*(_slice(x, i * _BLOCK, _BLOCK, 1) for x in (a, b))) - lost
    moved = total + part
    return moved, (moved - total) - part

  total = _inner(a[:, num_blocks * _BLOCK :], b[:, num_blocks * _BLOCK :])
  if num_blocks:
    start = total, jnp.zeros_like(total)
    total, _ = jax.lax.fori_loop(0, num_blocks, add, start)
  return total


def _inner(a: jax.Array, b: jax.Array) -> jax.Array:
  return matmul(a, b.T)


def norm(x: jax.Array) -> jax.Array:
  """Returns the norm of a vector [d]."""
  return jnp.sqrt(inner_products(x[None], x[None])[0, 0])


@jax.jit
def orthogonalize(
  basis: jax.Array, vector: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Splits a vector into a combination of rows and what is orthogonal to them.

  Args:
    basis: rows that are orthonormal or zero, [m, d].
    vector: [d].

  Returns:
    The coefficients of the rows [m], the rest [d], and the norms of the vector
    and of the rest, [2].
  """
  rest = vector
  coefficients = jnp.zeros(len(basis), vector.dtype)
  # Once would leave rounding errors of the size of the vector, which may be
  # much longer than the rest.
  for _ in range(2):
    part = inner_products(basis, rest[None])[:, 0]
    rest = rest - matmul(part, basis)
    coefficients = coefficients + part
  return coefficients, rest, jnp.stack([norm(vector), norm(rest)])


@functools.partial(jax.jit, donate_argnums=(0, 1))
def append(
  basis: jax.Array, rest: jax.Array, row: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the basis with rest / ||rest|| as its row, and that vector.

  Both arguments are used up.
  """
  unit = rest / norm(rest)
  return basis.at[row].set(unit), unit


@functools.partial(jax.jit, donate_argnums=0)
def rotate(basis: jax.Array, rotation: np.ndarray) -> jax.Array:
  """Returns rotation @ basis in the place of the basis, [m, d]."""
  rotate = functools.partial(matmul, jnp.asarray(rotation, basis.dtype))
  num_blocks = basis.shape[1] // _BLOCK

  def rotate_block(i, basis):
    start = i * _BLOCK
    block = rotate(_slice(basis, start, _BLOCK, 1))
    return jax.lax.dynamic_update_slice_in_dim(basis, block, start, 1)

  if num_blocks:
    basis = jax.lax.fori_loop(0, num_blocks, rotate_block, basis)
  # After the loop: before it, the loop would work on a copy of the basis.
  rest = rotate(basis[:, num_blocks * _BLOCK :])
  return basis.at[:, num_blocks * _BLOCK :].set(rest)


def read_norms(norms: jax.Array) -> tuple[float, float]:
  """Returns the norms of a product with H and of its rest as numbers.

  Raises:
    FloatingPointError: the product is not finite.
  """
  before, after = np.asarray(norms, np.float64)
  if not np.isfinite(before):
    raise FloatingPointError("a product with the operator is not finite")
  return float(before), float(after)


@functools.partial(jax.jit, static_argnames=("dim", "kind", "dtype"))
def random_vector(
  seed: int, index: int, dim: int, dtype: Any, kind: str = "normal"
) -> jax.Array:
  """Returns the random vector of this index, [d].

  Its elements are independent, 'normal' or 'rademacher' (-1 or 1).
  """
  key = jax.random.fold_in(jax.random.key(seed), index)
  if kind == "normal":
    return jax.random.normal(key, (dim,), dtype)
  if kind == "rademacher":
    return jax.random.rademacher(key, (dim,), dtype)
  raise ValueError(f"kind={kind!r} is neither normal nor rademacher")
