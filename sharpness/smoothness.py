"""Smoothness and Polyak-Lojasiewicz constants, as far as one step shows them.

Shin et al. (UAI 2025), Appendix F and Figure 21.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .objective import Objective

# A loss may come out this much below its minimum by rounding (of 1, or of the
# minimum where that is larger).
_ROUNDING = 1e-6
# The least length of a step, in roundings of the weights.
_SHORTEST = 100


class Smoothness(NamedTuple):
  """Empirical constants of a loss f along a step.

  Attributes:
    beta: the largest slope of the gradient, a lower bound of the smoothness
      constant; NaN for a step that is too short to tell from rounding.
    alpha: the smallest ||grad f||^2 / (f - minimum), an upper bound of the PL
      constant in ||grad f||^2 >= alpha (f - minimum); infinite where every
      point is at the minimum, which holds for any alpha.
  """

  beta: float
  alpha: float


def along_step(
  objective: Objective,
  w: jax.Array,
  w_next: jax.Array,
  spacing: float = 0.1,
  minimum: float = 0.0,
) -> Smoothness:
  """Returns the constants over the points w + gamma v of a step v.

  With v = w_next - w and gamma = d, 2 d, ..., 1,
    beta = max ||grad f(w + gamma v) - grad f(w)|| / ||gamma v||,
    alpha = min ||grad f(w + gamma v)||^2 / (f(w + gamma v) - minimum).

  Args:
    objective: the loss f.
    w: weights before the step, [d].
    w_next: weights after it, [d].
    spacing: d, one over a whole number.
    minimum: the smallest value that f can take.

  Raises:
    ValueError: `spacing` does not divide 1, or f is below `minimum`.
  """
  num_points = round(1 / spacing) if 0 < spacing <= 1 else 0
  if not abs(num_points * spacing - 1) < 1e-6:
    raise ValueError(f"spacing={spacing}, must be one over a whole number")
  start = objective.gradient(w)
  eps = float(jnp.finfo(w.dtype).eps)
  shortest = _SHORTEST * eps * float(jnp.linalg.norm(w))
  betas, alphas = [], []
  for i in range(1, num_points + 1):
    point = w_next if i == num_points else w + i / num_points * (w_next - w)
    loss, gradient = objective.value_and_gradient(point)
    # The length that was really moved: a step can be as short as rounding.
    moved = float(jnp.linalg.norm(point - w))
    if moved > shortest:
      betas.append(float(jnp.linalg.norm(gradient - start)) / moved)
    gap = float(loss) - minimum
    if gap < -_ROUNDING * max(1, abs(minimum)):
      raise ValueError(f"the loss is {float(loss)}, below minimum={minimum}")
    if gap > 0:
      alphas.append(float(jnp.linalg.norm(gradient)) ** 2 / gap)
  return Smoothness(
    beta=max(betas, default=math.nan), alpha=min(alphas, default=math.inf)
  )
