"""The named measures of a minimum.

Each takes a `Point` and returns numbers by name, with their errors (`ERRORS`);
a list is a curve. The modules beside this one say exactly what they are. H is
the Hessian of the mean loss of the examples.
"""

from collections.abc import Callable, Iterable
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from . import lanczos
from . import landscape
from . import moments
from . import neighborhood
from . import quadrature
from . import smoothness
from . import trace
from .objective import Objective

Numbers = dict[str, Any]

# What the name of a number ends with if it is the error of another.
ERRORS = ("_stderr", "_residual", "_error")
# Radius of the neighbourhoods without one of SAM's own.
DEFAULT_RHO = 0.05
# Examples whose Hessians are compared; Shin et al., Section 6, take as many.
MOMENT_EXAMPLES = 1000
# Of filter-normalized directions, which are as long as the weights.
LINE = np.linspace(-1.0, 1.0, 41)
PLANE = np.linspace(-1.0, 1.0, 21)


@dataclasses.dataclass(frozen=True)
class Point:
  """Where something is measured.

  Attributes:
    objective: the loss; it is measured at its weights.
    learning_rate: of the step that led there; 0: unknown, and what needs it
      says nothing.
    rho: radius of the neighbourhoods.
    m: examples that share a perturbation of `m_sharpness`; None: all.
  """

  objective: Objective
  learning_rate: float = 0.0
  rho: float = DEFAULT_RHO
  m: int | None = None

  @property
  def w(self) -> jax.Array:
    return self.objective.weights

  def hvp(self, v: jax.Array) -> jax.Array:
    return self.objective.hvp(self.w, v)


def loss(point: Point) -> Numbers:
  """The loss and the norms of its gradient and of the weights."""
  value, gradient = point.objective.value_and_gradient(point.w)
  return {
    "loss": float(value),
    "gradient_norm": _norm(gradient),
    "weight_norm": _norm(point.w),
  }


def lambda_max(point: Point) -> Numbers:
  """The largest eigenvalue of H."""
  return _eigenvalue("lambda_max", _top(point, 1, "largest"))


def eigenvalues(point: Point) -> Numbers:
  """The five largest eigenvalues of H, and its smallest."""
  top = _top(point, min(5, point.objective.dim), "largest")
  bottom = _top(point, 1, "smallest")
  return {
    **_eigenvalue("lambda_max", top),
    **_eigenvalue("lambda_min", bottom),
    "top_eigenvalues": top.values.tolist(),
    "top_eigenvalues_residual": top.residuals.tolist(),
  }


def trace_of_h(point: Point) -> Numbers:
  """The trace of H and its Frobenius norm."""
  plain, squared = trace.hutchinson(
    point.hvp, point.objective.dim, dtype=point.w.dtype
  )
  norm = trace.frobenius_norm(squared)
  return {
    "trace": plain.value,
    "trace_stderr": plain.stderr,
    "frobenius_norm": norm.value,
    "frobenius_norm_stderr": norm.stderr,
  }


def spectrum(point: Point) -> Numbers:
  """The density of the eigenvalues of H, smoothed."""
  density = quadrature.spectral_density(
    point.hvp, point.objective.dim, dtype=point.w.dtype
  )
  low, high = float(density.nodes.min()), float(density.nodes.max())
  width = max(high - low, 1e-12) / 100
  grid = np.linspace(low - 5 * width, high + 5 * width, 400)
  mean, stderr = quadrature.smooth(density, grid, width)
  return {
    "spectrum_eigenvalue": grid.tolist(),
    "spectrum_density": mean.tolist(),
    "spectrum_density_stderr": stderr.tolist(),
  }


def non_uniformity(point: Point) -> Numbers:
  """s_2, s_3 and s_4 of Theorem 6.3, over at most 1,000 examples."""
  few = point.objective.sample(MOMENT_EXAMPLES)
  numbers: Numbers = {"non_uniformity_num_examples": few.num_examples}
  for k in (2, 3, 4):
    found = moments.non_uniformity(few, point.w, k)
    numbers |= {f"s_{k}": found.value, f"s_{k}_error": found.error}
  return numbers


def stability(point: Point) -> Numbers:
  """The largest eigenvalue of Theorem 6.3 and the bounds that follow from it.

  Of un-normalized SAM on single examples, with the learning rate of the point.
  """
  if not point.learning_rate:
    return {}
  few = point.objective.sample(MOMENT_EXAMPLES)
  found = moments.stability(few, point.w, point.learning_rate, point.rho)
  bounds = moments.stability_bounds(point.learning_rate, point.rho)
  limits = {f"bound_{name}": x for name, x in bounds._asdict().items()}
  return {
    "stability": found.value,
    "stability_error": found.error,
    **limits,
  }


def average_sharpness(point: Point) -> Numbers:
  """The mean rise of the loss at distance rho, plain and adaptive."""
  numbers: Numbers = {}
  for prefix, adaptive in (("", False), ("adaptive_", True)):
    found = neighborhood.average_sharpness(
      point.objective, point.w, point.rho, 32, 0, adaptive
    )
    numbers |= {
      f"{prefix}average_sharpness": found.value,
      f"{prefix}average_sharpness_stderr": found.standard_error,
    }
  return numbers


def worst_case_sharpness(point: Point) -> Numbers:
  """The largest rise of the loss within rho, plain and adaptive."""
  return {
    f"{prefix}worst_case_sharpness": neighborhood.worst_case_sharpness(
      point.objective, point.w, point.rho, adaptive=adaptive
    ).value
    for prefix, adaptive in (("", False), ("adaptive_", True))
  }


def m_sharpness(point: Point) -> Numbers:
  """The mean rise of the loss along SAM's own, normalized perturbations."""
  return {
    "m_sharpness": neighborhood.m_sharpness(
      point.objective,
      point.w,
      point.rho,
      point.m or point.objective.num_examples,
    ),
    "m_sharpness_rho": point.rho,
  }


def sam_edge(point: Point) -> Numbers:
  """The curvatures at which SAM, and plain descent, become unstable.

  Without momentum.
  """
  if not point.learning_rate:
    return {"sam_edge": math.inf, "sgd_edge": math.inf}
  norm = _norm(point.objective.gradient(point.w))
  return {
    "sam_edge": neighborhood.sam_edge(norm, point.learning_rate, point.rho),
    "sgd_edge": 2 / point.learning_rate,
  }


def gradient_change(point: Point) -> Numbers:
  """How far SAM's gradient is from the plain one."""
  found = neighborhood.gradient_change(point.objective, point.w, point.rho)
  return {
    "gradient_change": found.relative,
    "gradient_cosine": found.cosine,
    "relative_perturbation": found.perturbation,
  }


def step_constants(point: Point) -> Numbers:
  """Empirical smoothness and PL constants along a step of plain descent.

  The least that the loss can be is 0; where it is lower, as the loss of PPO
  may be, nothing is known of it, and the PL constant is NaN.
  """
  gradient = point.objective.gradient(point.w)
  step = point.objective, point.w, point.w - point.learning_rate * gradient
  try:
    beta, alpha = smoothness.along_step(*step)
  except ValueError:
    beta, _ = smoothness.along_step(*step, minimum=-math.inf)
    alpha = math.nan
  return {"smoothness": beta, "pl_constant": alpha}


def landscape_line(point: Point) -> Numbers:
  """The loss along a filter-normalized random direction."""
  direction = landscape.random_direction(point.objective, point.w, seed=0)
  losses = landscape.line(point.objective, point.w, direction, LINE)
  return {"line_offset": LINE.tolist(), "line_loss": losses.tolist()}


def landscape_plane(point: Point) -> Numbers:
  """The loss over two filter-normalized random directions."""
  a, b = (
    landscape.random_direction(point.objective, point.w, seed=seed)
    for seed in (0, 1)
  )
  losses = landscape.plane(point.objective, point.w, a, b, PLANE, PLANE)
  return {"plane_offset": PLANE.tolist(), "plane_loss": losses.tolist()}


MEASURES: dict[str, Callable[[Point], Numbers]] = {
  "loss": loss,
  "lambda_max": lambda_max,
  "eigenvalues": eigenvalues,
  "trace": trace_of_h,
  "spectrum": spectrum,
  "average_sharpness": average_sharpness,
  "worst_case_sharpness": worst_case_sharpness,
  "m_sharpness": m_sharpness,
  "sam_edge": sam_edge,
  "gradient_change": gradient_change,
  "step_constants": step_constants,
  "landscape_line": landscape_line,
  "landscape_plane": landscape_plane,
  "non_uniformity": non_uniformity,
  "stability": stability,
}
# They take products with the Hessian of every example alone.
SLOW = ("non_uniformity", "stability")
# All but those, and but what another one has too.
DEFAULT = [n for n in MEASURES if n not in SLOW and n != "lambda_max"]


def select(names: str) -> list[str]:
  """Returns the measures named, separated by commas.

  Args:
    names: '' is `DEFAULT`; 'all' is all.

  Raises:
    ValueError: there is no such measure.
  """
  if names == "all":
    return [*DEFAULT, *SLOW]
  chosen = names.split(",") if names else DEFAULT
  for name in chosen:
    if name not in MEASURES:
      raise ValueError(
        f"measures={name!r}: must be all, or some of {', '.join(MEASURES)}"
      )
  return chosen


def measure(point: Point, names: Iterable[str]) -> Numbers:
  """Returns what these measures find.

  A measure that meets a product with H that is not finite is NaN.
  """
  numbers: Numbers = {}
  for name in names:
    try:
      numbers |= MEASURES[name](point)
    except FloatingPointError:
      numbers[name] = math.nan
  return numbers


def _top(point: Point, k: int, which: str) -> lanczos.Eigenpairs:
  return lanczos.top_eigenpairs(
    point.hvp, point.objective.dim, k, which=which, dtype=point.w.dtype
  )


def _eigenvalue(name: str, found: lanczos.Eigenpairs) -> Numbers:
  """Returns the first of the eigenvalues found."""
  return {
    name: float(found.values[0]),
    f"{name}_residual": float(found.residuals[0]),
    f"{name}_converged": bool(found.converged[0]),
  }


def _norm(x: jax.Array) -> float:
  return float(jax.numpy.linalg.norm(x))
