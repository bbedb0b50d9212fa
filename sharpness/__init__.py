"""What is measured at a minimum.

An `Objective` is a mean loss over a data set, a function of flat weights, with
its gradient and products with its Hessian. `measures` has numbers by name, of a
`Point`. What they rest on takes an objective and weights, or any symmetric
operator (the first three):

  lanczos       eigenvalues with residuals
  quadrature    the density of the eigenvalues
  trace         trace and Frobenius norm with standard errors
  neighborhood  how far the loss rises nearby: average, worst case, m-sharpness
  moments       non-uniformity of the Hessians of examples, linear stability
  landscape     the loss along lines and planes
  smoothness    empirical smoothness and PL constants
  linearized    a network's tangent model; which ReLUs stay as they were
"""

from . import lanczos as lanczos
from . import landscape as landscape
from . import linearized as linearized
from . import measures as measures
from . import moments as moments
from . import neighborhood as neighborhood
from . import quadrature as quadrature
from . import smoothness as smoothness
from . import trace as trace
from .measures import Point as Point
from .objective import Objective as Objective
from .objective import batched as batched
