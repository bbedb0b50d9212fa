"""Linear rates: fitted to losses, and as Shin et al. (UAI 2025) bound them.

Theorems 6.6 and H.3: SAM with a perturbation that is not normalized, where f is
the mean of f_i with a common minimum of 0.
"""

from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np

from sharpness import lanczos
from sharpness.objective import Objective


def rate(epochs: np.ndarray, losses: np.ndarray) -> float:
  """Returns halvings an epoch, of the best line through the initial loss."""
  fall = np.log2(losses[0] / losses)
  return float(fall @ epochs / (epochs @ epochs))


def straightness(losses: np.ndarray) -> float:
  """Returns the fall of log loss in the second half over that in the first."""
  first, middle, last = np.log(losses[[0, len(losses) // 2, -1]])
  return float((middle - last) / (first - middle))


def line_over_power(epochs: np.ndarray, losses: np.ndarray) -> float:
  """Returns by how much R^2 of an exponential exceeds that of a power.

  Of log loss against the epoch, and against its logarithm, after the first
  fifth of the epochs.
  """
  late = epochs >= epochs[-1] / 5
  x, y = epochs[late], np.log(losses[late])
  line, power = (np.corrcoef(of, y)[0, 1] ** 2 for of in (x, np.log(x)))
  return float(line - power)


def loss_floor(targets_NxC: np.ndarray, rank: int) -> float:
  """Returns the smallest mean squared error of outputs of some rank.

  Eckart and Young: what is left of the targets are the singular values beyond
  the rank, squared, over the number of examples.
  """
  values = np.linalg.svd(targets_NxC.astype(np.float64), compute_uv=False)
  return float(np.sum(np.square(values[rank:])) / len(targets_NxC))


class Constants(NamedTuple):
  """What Theorem 6.6 knows of a loss f, the mean of f_i with minimum 0.

  Attributes:
    smoothness: lambda, of f.
    example_smoothness: beta, of every f_i.
    pl_constant: alpha, ||grad f||^2 >= alpha f.
  """

  smoothness: float
  example_smoothness: float
  pl_constant: float


def _terms(c: Constants, rho: float, batch_size: int) -> tuple[float, float]:
  """Returns s and q of E f(x_t+1) <= (1 - alpha eta (s - q eta)) f(x_t)."""
  beta = c.example_smoothness
  kappa = ((batch_size - 1) / 2 + beta / c.pl_constant) / batch_size
  slowed = 1 - (kappa + 0.5) * beta * rho
  return slowed, c.smoothness * kappa * (1 + beta * rho) ** 2


def best_learning_rate(c: Constants, rho: float, batch_size: int) -> float:
  """Returns eta* of Theorem H.3 (6.6 for single examples); < 0: none."""
  slowed, curved = _terms(c, rho, batch_size)
  return slowed / (2 * curved)


def contraction(
  c: Constants, rho: float, batch_size: int, learning_rate: float
) -> float:
  """Returns a bound of E f(x_t+1) / f(x_t); of 1 or more it says nothing.

  At eta* it is 1 - alpha eta* s / 2, that of Theorem H.3. Its proof holds for
  every learning rate: by PL and E ||g||^2 <= 2 kappa ||grad f||^2 for batches,
  the step gains at least eta s ||grad f||^2 and loses at most eta^2 q
  ||grad f||^2.
  """
  slowed, curved = _terms(c, rho, batch_size)
  return 1 - c.pl_constant * learning_rate * (slowed - curved * learning_rate)


def bound(
  objective: Objective,
  weights: Sequence[jax.Array],
  losses: np.ndarray,
  rho: float,
  batch_size: int,
  learning_rate: float,
) -> dict[str, Any]:
  """Returns the bound of the loss at every epoch, and what it comes from.

  Args:
    objective: of the whole training set.
    weights: vectors after every epoch, the initial ones first.
    losses: their losses, [T].
    rho: of SAM, whose perturbation is not normalized.
    batch_size: examples of a step.
    learning_rate: of every step.

  Returns:
    The `Constants`, from these weights; eta_star, of `best_learning_rate`;
    bounds, [T], and bound_rate, their `rate`; and bound_margin, the least
    halvings of a loss below its bound.
  """
  norms = [float(jnp.linalg.norm(objective.gradient(w))) for w in weights]
  constants = Constants(
    max(smoothness(objective, w) for w in weights[::5]),
    max(example_smoothness(objective, w) for w in weights[::5]),
    float(np.min(np.square(norms) / losses)),
  )
  left = contraction(constants, rho, batch_size, learning_rate)
  epochs = np.arange(len(losses))
  bounds = losses[0] * left ** (epochs * (objective.num_examples // batch_size))
  return {
    **constants._asdict(),
    "eta_star": best_learning_rate(constants, rho, batch_size),
    "bound_rate": rate(epochs, bounds),
    "bounds": bounds.tolist(),
    # The initial loss is on the bound.
    "bound_margin": float(np.min(np.log2(bounds[1:] / losses[1:]))),
  }


def smoothness(objective: Objective, w: jax.Array) -> float:
  """Returns the norm of the Hessian of the mean loss."""
  found = lanczos.top_eigenpairs(
    functools.partial(objective.hvp, w), objective.dim, which="magnitude"
  )
  return abs(float(found.values[0]))


def example_smoothness(objective: Objective, w: jax.Array) -> float:
  """Returns the largest norm of the Hessian of the squared error of an example.

  By power iteration, so up to 1 % too small.
  """
  params = objective.unflatten(w)
  return max(
    float(_example_norms(objective.predict, params, batch).max())
    for batch in objective.batches
  )


@functools.partial(jax.jit, static_argnums=0)
def _example_norms(predict, params, batch):
  """Returns the norm of the Hessian of every example, [B]."""
  w, unravel = flatten_util.ravel_pytree(params)
  start = jax.random.normal(jax.random.key(0), w.shape)

  def of_example(x, y):
    def loss(w):
      outputs = predict(unravel(w), {}, {"inputs": x[None]})
      return jnp.sum(jnp.square(outputs[0] - y))

    def product(_, v):
      return jax.jvp(jax.grad(loss), (w,), (v / jnp.linalg.norm(v),))[1]

    return jnp.linalg.norm(jax.lax.fori_loop(0, 100, product, start))

  return jax.vmap(of_example)(batch["inputs"], batch["targets"])
