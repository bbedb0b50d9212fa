"""Moments of the per-example Hessians, and what they say of SAM's stability.

Shin et al. (UAI 2025), Section 6.1 and Theorem 6.3. H_i is the Hessian of the
loss of example i, H = (1/n) sum_i H_i and M_k = (1/n) sum_i H_i^k. The theorem
is about un-normalized SAM with batches of one example, near a point that
minimizes every example's loss; there, every H_i is positive semidefinite.
"""

from collections.abc import Callable
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from . import lanczos
from .objective import Objective

# Relative error of a term of a matrix-vector product, in units of epsilon.
_ROUNDINGS = 10


class NonUniformity(NamedTuple):
  """A moment s_k.

  Attributes:
    value: s_k, in units of curvature.
    error: how far s_k moves with the error of the eigenvalue under the root,
      which is the residual of the eigenpair plus rounding. The root magnifies
      it near 0: in float32 an s_4 that is truly 0 is known to a few
      hundredths of ||H||.
    converged: whether the residual met the tolerance, or is mere rounding.
  """

  value: float
  error: float
  converged: bool


class Stability(NamedTuple):
  """The largest eigenvalue of the matrix of Theorem 6.3.

  Attributes:
    value: the eigenvalue; one step multiplies E||x||^2 by at most this.
    error: residual of the eigenpair, plus rounding. An eigenvalue lies within
      it of the value. That need not be the largest: where many are near 1, as
      with more weights than examples constrain, Lanczos may miss one that is
      barely larger.
    converged: whether the residual met the tolerance, or is mere rounding.
  """

  value: float
  error: float
  converged: bool

  @property
  def stable(self) -> bool | None:
    """Whether the largest eigenvalue is below 1.

    None if that cannot be told: the value has not converged, or 1 is within its
    error. It is never above the largest eigenvalue, but for rounding, so False
    is certain; True takes it for the largest.
    """
    if not self.converged or abs(self.value - 1) <= self.error:
      return None
    return self.value < 1


class StabilityBounds(NamedTuple):
  """Upper bounds at a stable minimum; infinite where there is none.

  Attributes:
    a_term: of a (1 + rho a), where a = lambda_max(H).
    a: the same, solved for a.
    s_2: of `non_uniformity` with k = 2.
    s_3: with k = 3.
    s_4: with k = 4.
  """

  a_term: float
  a: float
  s_2: float
  s_3: float
  s_4: float


def non_uniformity(
  objective: Objective,
  w: jax.Array,
  k: int,
  *,
  chunk: int = 16,
  seed: int = 0,
  tolerance: float = 1e-4,
  max_steps: int = 300,
) -> NonUniformity:
  """Returns s_k = max(lambda_max(M_k - H^k), 0)^(1/k), matrix-free.

  The paper's matrix root needs M_k - H^k to be positive semidefinite. It is
  for k = 2, the mean of (H_i - H)^2. It need not be for k >= 3, even where
  every H_i is: t^k is convex for numbers, but for matrices only up to k = 2.
  The eigenvalue under the root is then still the largest, and at least 0,
  since the trace of M_k - H^k is; but for k = 3 and indefinite H_i it can be
  negative, and rounding makes it so for any k. Hence the maximum with 0.

  Args:
    objective: the loss; a step of Lanczos costs 2 k products with Hessians,
      half of them example by example.
    w: weights, [d].
    k: 2, 3 or 4.
    chunk: examples at once, see `Objective.power_vp`.
    seed: of the first Lanczos vector.
    tolerance: of the residual, see `lanczos.top_eigenpairs`.
    max_steps: Lanczos steps at most, one more measures the residual.

  Raises:
    ValueError: for another k.
  """
  if k not in (2, 3, 4):
    raise ValueError(f"k={k}, must be 2, 3 or 4")

  def terms(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    power = v
    for _ in range(k):
      power = objective.hvp(w, power)
    return objective.power_vp(w, v, k, chunk), -power

  top, error, converged = _top(terms, w, seed, tolerance, max_steps)
  root, low, high = (
    max(x, 0) ** (1 / k) for x in (top, top - error, top + error)
  )
  return NonUniformity(root, max(root - low, high - root), converged)


def stability(
  objective: Objective,
  w: jax.Array,
  learning_rate: float,
  rho: float,
  *,
  chunk: int = 16,
  seed: int = 0,
  tolerance: float = 1e-4,
  max_steps: int = 300,
) -> Stability:
  """Returns the largest eigenvalue of the matrix of Theorem 6.3.

  With eta = learning_rate the theorem prints
    (I - eta H - eta rho H^2)^2 + eta (eta - 2 rho) (M_2 - H^2)
      + 2 eta^2 rho (M_3 - H^3) + eta^2 rho^2 (M_4 - H^4).
  Ascent and descent on the same example i turn x into
  (I - eta H_i - eta rho H_i^2) x, and the mean over i of the square of that
  matrix is
    I - 2 eta H + eta (eta - 2 rho) M_2 + 2 eta^2 rho M_3 + eta^2 rho^2 M_4,
  exactly the printed one: the powers of H cancel. This shorter form is used.

  If the value is at most 1, E||x||^2 never grows. That is sufficient for
  linear stability but not necessary, unless the H_i commute: otherwise
  E||x||^2 can grow at first and still vanish. Directions that no example sees
  have eigenvalue 1, so with more weights than examples constrain the value of
  a stable point is 1 up to its error, and `Stability.stable` is None. Negative
  curvature, which there is before every example is fitted, tends to put it
  above 1 for any learning rate.

  Args:
    objective: the loss; a step of Lanczos costs 10 products with Hessians
      (3 if rho is 0), nearly all example by example.
    w: weights, [d].
    learning_rate: eta.
    rho: radius of the un-normalized perturbation, e = rho g.
    chunk: examples at once, see `Objective.power_vp`.
    seed: of the first Lanczos vector.
    tolerance: of the residual, see `lanczos.top_eigenpairs`.
    max_steps: Lanczos steps at most, one more measures the residual.
  """
  eta = learning_rate
  factors = {2: eta * (eta - 2 * rho), 3: 2 * eta**2 * rho, 4: (eta * rho) ** 2}

  # The identity is left out, and added to the eigenvalue: next to 1, what
  # matters would be lost to rounding.
  def terms(v: jax.Array) -> tuple[jax.Array, ...]:
    powers = [
      factor * objective.power_vp(w, v, k, chunk)
      for k, factor in factors.items()
      if factor
    ]
    return -2 * eta * objective.hvp(w, v), *powers

  top, error, converged = _top(terms, w, seed, tolerance, max_steps)
  return Stability(1 + top, error, converged)


def stability_bounds(learning_rate: float, rho: float) -> StabilityBounds:
  """Returns what Theorem 6.3 demands of a stable minimum.

  With eta = learning_rate: a (1 + rho a) <= 2 / eta,
  s_2^2 <= 1 / (eta (eta - 2 rho)), s_3^3 <= 1 / (2 eta^2 rho) and
  s_4^4 <= 1 / (eta^2 rho^2). A bound whose divisor is not positive says
  nothing: s_2 from rho = eta / 2 on, s_3 and s_4 for rho = 0.

  The first follows from `stability(...).value <= 1` for any rho, since else
  the mean of x would grow. The others follow for positive semidefinite H_i and
  rho <= eta / 2. Along a unit vector let mu be the mean of the H_i's spectral
  measures. There the matrix is the mean over mu of (1 - eta h - eta rho h^2)^2,
  which is a square plus factors, none negative, times the gaps
  E_mu h^k - (E_mu h)^k, and such a gap is at least that of M_k - H^k.
  For a larger rho the factor of the second gap is negative and the argument
  ends. The bound of s_4 is then wrong, though only from rho = 5 eta or so on,
  for instance for examples of two kinds, of curvature 0 and h.
  """
  eta = learning_rate

  def root(divisor: float, k: int) -> float:
    return divisor ** (-1 / k) if divisor > 0 else math.inf

  return StabilityBounds(
    a_term=2 / eta,
    # The positive root of rho a^2 + a - 2 / eta, in the form that allows rho=0.
    a=4 / (eta * (1 + math.sqrt(1 + 8 * rho / eta))),
    s_2=root(eta * (eta - 2 * rho), 2),
    s_3=root(2 * eta**2 * rho, 3),
    s_4=root((eta * rho) ** 2, 4),
  )


def _top(
  terms: Callable[[jax.Array], tuple[jax.Array, ...]],
  w: jax.Array,
  seed: int,
  tolerance: float,
  max_steps: int,
) -> tuple[float, float, bool]:
  """Returns the largest eigenvalue of a sum of terms, its error and success."""
  found = lanczos.top_eigenpairs(
    lambda v: functools.reduce(jnp.add, terms(v)),
    w.size,
    seed=seed,
    tolerance=tolerance,
    max_steps=max_steps,
    dtype=w.dtype,
  )
  # The terms cancel, but what was rounded in each of them stays.
  size = sum(float(jnp.linalg.norm(x)) for x in terms(found.vectors[0]))
  rounding = _ROUNDINGS * float(jnp.finfo(w.dtype).eps) * size
  residual = float(found.residuals[0])
  converged = bool(found.converged[0]) or residual <= rounding
  return float(found.values[0]), residual + rounding, converged
