"""How far the loss rises around a point: on average, at worst, and along SAM.

Radii rho are Euclidean lengths in weight space. The adaptive measures give
every weight its own scale: a perturbation e = |w| u is measured by the length
of u, so that rescaling a weight rescales its neighborhood with it (Kwon et
al., 2021; c = |w| in Andriushchenko et al., 2023). A weight that is exactly 0
then never moves.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .objective import Objective

# Added to the norm that divides, as in SAM's own perturbation.
NORM_EPS = 1e-12
# The ascent's steps in units of the radius: below the first it stops; above
# the second only the gradient's direction is left of a step anyway.
_MIN_STEP, _MAX_STEP = 1e-6, 1e3


class AverageSharpness(NamedTuple):
  """Mean rise of the loss, and the standard error of that mean."""

  value: float
  standard_error: float


class WorstCaseSharpness(NamedTuple):
  """Largest rise of the loss that was found.

  Attributes:
    value: the rise, at least 0; a lower bound of the true maximum.
    perturbation: where it was found, [d].
    restarts: what each start reached, [num_restarts]; values that differ say
      that more starts might find more.
  """

  value: float
  perturbation: jax.Array
  restarts: tuple[float, ...]


class GradientChange(NamedTuple):
  """SAM's gradient against the plain one.

  Attributes:
    relative: ||g_SAM - g|| / ||g||; 0 where nothing changes.
    cosine: of the angle between g_SAM and g; NaN if either is zero.
    perturbation: rho / ||w||.
  """

  relative: float
  cosine: float
  perturbation: float


def average_sharpness(
  objective: Objective,
  w: jax.Array,
  rho: float,
  num_samples: int,
  seed: int,
  adaptive: bool = False,
) -> AverageSharpness:
  """Returns the mean of loss(w + e) - loss(w) over random directions.

  u is uniform on the sphere of radius rho, and e = u, or |w| u if adaptive. A
  sample is the mean over u and -u, so that the gradient, whose mean is 0,
  adds no error: it would drown the curvature where training has not ended.
  A Gaussian of standard deviation sigma per weight, as in Andriushchenko et
  al. (2023), is close to rho = sigma sqrt(d). Where the loss is quadratic with
  Hessian H the value is rho^2 tr(H) / (2 d).

  Args:
    objective: the loss.
    w: weights, [d].
    rho: radius.
    num_samples: pairs of opposite directions, at least 2.
    seed: of the directions.
    adaptive: see the module.

  Raises:
    ValueError: with fewer than 2 samples there is no standard error.
  """
  if num_samples < 2:
    raise ValueError(f"num_samples={num_samples}, must be at least 2")
  losses_N = _example_losses(objective, w)
  scale = jnp.abs(w) if adaptive else 1
  rises = []
  for key in jax.random.split(jax.random.key(seed), num_samples):
    e = rho * scale * _random_direction(key, w)
    pair = (_rise(objective, losses_N, w + x) for x in (e, -e))
    rises.append(sum(pair) / 2)
  error = float(np.std(rises, ddof=1)) / math.sqrt(num_samples)
  return AverageSharpness(float(np.mean(rises)), error)


def worst_case_sharpness(
  objective: Objective,
  w: jax.Array,
  rho: float,
  *,
  num_steps: int = 30,
  num_restarts: int = 3,
  step_size: float = 1.0,
  seed: int = 0,
  adaptive: bool = False,
) -> WorstCaseSharpness:
  """Returns the largest loss(w + e) - loss(w) over the ball ||e|| <= rho.

  Projected gradient ascent; if adaptive, in u with e = |w| u and ||u|| <= rho,
  an ellipsoid. The first start is SAM's, on the sphere along the gradient; the
  others, and the first where the gradient is zero, are random points of the
  sphere. A step goes along the normalized gradient, and its length doubles
  when the loss rises and halves, with the move undone, when it does not, so
  the last point of a start is its best.

  Args:
    objective: the loss.
    w: weights, [d].
    rho: radius.
    num_steps: gradients a start.
    num_restarts: starts, the first included.
    step_size: length of the first step, in units of rho.
    seed: of the random starts.
    adaptive: see the module.

  Raises:
    ValueError: if there is nothing to do: no step or no start.
  """
  if num_steps < 1 or num_restarts < 1:
    raise ValueError(
      f"num_steps={num_steps} and num_restarts={num_restarts}, must be at"
      " least 1"
    )
  losses_N = _example_losses(objective, w)
  scale = jnp.abs(w) if adaptive else jnp.ones_like(w)
  gradient = scale * objective.gradient(w)
  best, perturbation, restarts = 0.0, jnp.zeros_like(w), []
  for i, key in enumerate(jax.random.split(jax.random.key(seed), num_restarts)):
    norm = jnp.linalg.norm(gradient)
    if i == 0 and norm > 0:
      start = rho / norm * gradient
    else:
      start = rho * _random_direction(key, w)
    u = _ascend(objective, w, scale, start, rho, num_steps, step_size * rho)
    rise = _rise(objective, losses_N, w + scale * u)
    restarts.append(max(rise, 0.0))
    if rise > best:
      best, perturbation = rise, scale * u
  return WorstCaseSharpness(best, perturbation, tuple(restarts))


def _ascend(
  objective: Objective,
  w: jax.Array,
  scale: jax.Array,
  u: jax.Array,
  rho: float,
  num_steps: int,
  step: float,
) -> jax.Array:
  """Returns the best point of projected ascent in ||u|| <= rho from `u`."""
  loss, gradient = objective.value_and_gradient(w + scale * u)
  for _ in range(num_steps - 1):
    trial = _ascent_step(u, scale * gradient, step, rho)
    trial_loss, trial_gradient = objective.value_and_gradient(w + scale * trial)
    if trial_loss > loss:
      u, loss, gradient = trial, trial_loss, trial_gradient
      step = min(2 * step, _MAX_STEP * rho)
    else:
      step /= 2
    if step <= _MIN_STEP * rho:
      break
  return u


@jax.jit
def _ascent_step(
  u: jax.Array, gradient: jax.Array, step: jax.Array, rho: jax.Array
) -> jax.Array:
  moved = u + step / (jnp.linalg.norm(gradient) + NORM_EPS) * gradient
  return moved * jnp.minimum(1, rho / (jnp.linalg.norm(moved) + NORM_EPS))


def m_sharpness(
  objective: Objective, w: jax.Array, rho: float, m: int
) -> float:
  """Returns the mean rise of the loss along SAM's own perturbations.

  The mean over microbatches of m examples of
  loss_m(w + rho g_m / (||g_m|| + 1e-12)) - loss_m(w), with g_m the gradient of
  loss_m at w (Foret et al., 2021). A zero gradient gives zero.

  Args:
    objective: the loss; its examples are taken in their order.
    w: weights, [d].
    rho: radius.
    m: examples a microbatch. Fewer that are left are not measured.

  Raises:
    ValueError: if there are fewer examples than m.
  """
  rises = []
  for part in objective.microbatches(m):
    losses_m = _example_losses(part, w)
    rises.append(
      _rise(part, losses_m, w + _perturbation(part.gradient(w), rho))
    )
  if not rises:
    raise ValueError(
      f"m={m} is more than the {objective.num_examples} examples"
    )
  return float(np.mean(rises))


def sam_edge(gradient_norm: float, learning_rate: float, rho: float) -> float:
  """Returns the curvature at which SAM's step neither shrinks nor grows.

  (||g|| / (2 rho)) (sqrt(1 + 8 rho / (eta ||g||)) - 1), Long and Bartlett
  (2024): SAM drives lambda_max towards it as plain descent drives it towards
  2 / eta. Along an eigenvector of curvature lambda the weight is
  x = ||g|| / lambda, a step goes to x - eta lambda (x + rho), and lambda is
  such that this is -x. The limits are 2 / eta for rho = 0 and 0 for a zero
  gradient, where the perturbation alone crosses any valley.

  Args:
    gradient_norm: ||g|| of the loss at the weights.
    learning_rate: eta.
    rho: radius of the normalized perturbation.
  """
  if rho == 0:
    return 2 / learning_rate
  if gradient_norm == 0:
    return 0.0
  # The same number, without the difference of nearly equal ones at small rho.
  root = math.sqrt(1 + 8 * rho / (learning_rate * gradient_norm))
  return 4 / (learning_rate * (root + 1))


def gradient_change(
  objective: Objective, w: jax.Array, rho: float, m: int | None = None
) -> GradientChange:
  """Returns how far SAM's gradient is from the plain one.

  Shin et al., Section 4.2: at a fixed rho, a wider network is perturbed less.

  Args:
    objective: the loss.
    w: weights, [d].
    rho: radius of the normalized perturbation.
    m: examples of a microbatch; each has its own perturbation, and their
      gradients are averaged, plain ones too. Fewer that are left are not
      measured. None: all examples share one perturbation.

  Raises:
    ValueError: if there are fewer examples than m.
  """
  count, plain, sam = 0, jnp.zeros_like(w), jnp.zeros_like(w)
  for part in [objective] if m is None else objective.microbatches(m):
    gradient = part.gradient(w)
    plain += gradient
    sam += part.gradient(w + _perturbation(gradient, rho))
    count += 1
  if not count:
    raise ValueError(
      f"m={m} is more than the {objective.num_examples} examples"
    )
  plain, sam = plain / count, sam / count
  plain_norm, sam_norm = _norm(plain), _norm(sam)
  change = _ratio(_norm(sam - plain), plain_norm)
  cosine = math.nan
  if plain_norm and sam_norm:
    cosine = float(jnp.vdot(plain / plain_norm, sam / sam_norm))
  return GradientChange(change, cosine, _ratio(rho, _norm(w)))


def _norm(x: jax.Array) -> float:
  return float(jnp.linalg.norm(x))


def _ratio(a: float, b: float) -> float:
  """Returns a / b for a, b >= 0, where 0 / 0 is 0."""
  if a == 0:
    return 0.0
  return a / b if b else math.inf


@jax.jit
def _perturbation(gradient: jax.Array, rho: jax.Array) -> jax.Array:
  return rho / (jnp.linalg.norm(gradient) + NORM_EPS) * gradient


@jax.jit
def _random_direction(key: jax.Array, w: jax.Array) -> jax.Array:
  """Returns a point of the unit sphere, uniformly; [d]."""
  z = jax.random.normal(key, w.shape, w.dtype)
  return z / jnp.linalg.norm(z)


def _example_losses(objective: Objective, w: jax.Array) -> np.ndarray:
  return np.asarray(objective.example_losses(w), np.float64)


def _rise(objective: Objective, losses_N: np.ndarray, w: jax.Array) -> float:
  # Subtracted by example and summed in float64: rises can be far smaller than
  # the rounding of a float32 mean.
  return float(np.mean(_example_losses(objective, w) - losses_N))
