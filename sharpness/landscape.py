"""The loss along lines and planes of the weights.

Filter-normalized directions as of Li et al. (2018); planes through minima and
along trajectories as in Figure 3 of Shin et al. (UAI 2025). Losses are those
of the full data, NaN or infinite where the model overflows.
"""

from collections.abc import Iterator, Sequence
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from .objective import Objective

# [K, d].
Points = Sequence[jax.Array | np.ndarray] | jax.Array | np.ndarray

# Points that leave a line by less, relative to their extent, are on it: the
# eigenvalues of their Gram matrix have rounding errors of about its square.
_RANK_TOLERANCE = 1e-6
# Weights at once in float64.
_CHUNK = 1 << 20


def random_direction(
  objective: Objective,
  w: jax.Array,
  seed: int,
  *,
  include_biases: bool = False,
) -> jax.Array:
  """Returns a filter-normalized Gaussian direction, [d].

  A filter is all that leads to one output unit of a kernel (the last axis);
  each has the norm of the same filter in `w`, so that the loss along the
  direction does not depend on how the filters are scaled.

  Args:
    objective: has the shapes of the weights.
    w: weights, [d].
    seed: of the direction.
    include_biases: whether biases and the scales of BatchNorm, each vector
      normalized as one filter, move too. The default keeps them.
  """

  def normalize(noise, weights):
    if noise.ndim < 2 and not include_biases:
      return jnp.zeros_like(noise)
    axes = tuple(range(noise.ndim - 1)) if noise.ndim > 1 else None

    def norm(x):
      return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))

    # A filter without weights has a noise of zero.
    size = norm(noise)
    return noise * (norm(weights) / jnp.where(size > 0, size, 1))

  noise = np.random.default_rng(seed).standard_normal(w.size)
  return objective.flatten(
    jax.tree.map(
      normalize,
      objective.unflatten(jnp.asarray(noise, w.dtype)),
      objective.unflatten(w),
    )
  )


def line(
  objective: Objective,
  w: jax.Array,
  direction: jax.Array,
  offsets: Sequence[float] | np.ndarray,
) -> np.ndarray:
  """Returns the loss at w + offset * direction for each offset, [A]."""
  return _losses(objective, (w + float(a) * direction for a in offsets))


def plane(
  objective: Objective,
  w: jax.Array,
  direction_a: jax.Array,
  direction_b: jax.Array,
  offsets_a: Sequence[float] | np.ndarray,
  offsets_b: Sequence[float] | np.ndarray,
) -> np.ndarray:
  """Returns the loss at w + a * direction_a + b * direction_b, [A, B]."""
  rows = [
    line(objective, w + float(a) * direction_a, direction_b, offsets_b)
    for a in offsets_a
  ]
  return np.stack(rows)


def interpolate(
  objective: Objective,
  w_a: jax.Array,
  w_b: jax.Array,
  fractions: Sequence[float] | np.ndarray,
) -> np.ndarray:
  """Returns the loss at (1 - t) w_a + t w_b for each fraction t, [A]."""
  return _losses(
    objective, ((1 - float(t)) * w_a + float(t) * w_b for t in fractions)
  )


def _losses(objective: Objective, weights: Iterator[jax.Array]) -> np.ndarray:
  # Each is waited for, so that only one point is in memory.
  return np.array([float(objective.value(w)) for w in weights])


@dataclasses.dataclass(frozen=True)
class PrincipalPlane:
  """The plane that is nearest to points in the weights.

  Attributes:
    origin: [d].
    directions: orthonormal, [2, d].
    coordinates: of the points, in `directions` from `origin`, [K, 2].
    explained: share of the squared distances of the points from `origin` that
      lies along each direction, [2]; their sum is 1 if the plane has them all.
  """

  origin: jax.Array
  directions: jax.Array
  coordinates: np.ndarray
  explained: np.ndarray


def principal_plane(
  points: Points,
  origin: jax.Array | np.ndarray | None = None,
) -> PrincipalPlane:
  """Returns the plane of the two first principal components of points.

  Three points are in the plane about their mean. The components come from the
  matrix of inner products [K, K], in float64. Each direction has the sign that
  makes positive the coordinate of the first point that is at least half as far
  along it as the farthest. Where the points are on a line through `origin`, as
  two are about their mean, the second direction is a random one, the same in
  every call, and explains 0.

  Args:
    points: [K, d], d >= 2.
    origin: what distances are from, [d]; None: the mean of the points.

  Raises:
    ValueError: d < 2, or all points are the origin.
  """
  rows = [np.asarray(point) for point in points]
  dtype, dim = rows[0].dtype, rows[0].size
  if dim < 2:
    raise ValueError(f"a plane needs at least 2 weights, not {dim}")
  if origin is None:
    origin = sum(rows, np.zeros(dim)) / len(rows)
  # As it is returned, so that the coordinates are from there.
  start = np.asarray(origin).astype(dtype)

  gram = np.zeros((len(rows), len(rows)))
  for x, _ in _chunks(rows, start):
    gram += x @ x.T
  values, vectors = np.linalg.eigh(gram)
  values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
  if values[0] <= 0:
    raise ValueError("no plane: all points are the origin")
  rank = int(np.sum(values > _RANK_TOLERANCE**2 * values[0]))

  basis = np.zeros((2, dim))
  for x, part in _chunks(rows, start):
    basis[:rank, part] = vectors[:, :rank].T @ x
  if rank < 2:
    basis[1] = np.random.default_rng(0).standard_normal(dim)
  basis[0] /= np.linalg.norm(basis[0])
  basis[1] /= np.linalg.norm(basis[1])
  # Inner products have lost the right angle if one of them is much longer.
  basis[1] -= (basis[1] @ basis[0]) * basis[0]
  basis[1] /= np.linalg.norm(basis[1])

  directions = basis.astype(dtype)
  coordinates = project(rows, start, directions)
  for k in range(rank):
    along = coordinates[:, k]
    far = np.abs(along) >= np.abs(along).max() / 2
    sign = np.sign(along[far][0])
    directions[k] *= sign
    coordinates[:, k] *= sign
  explained = np.zeros(2)
  explained[:rank] = values[:rank] / np.trace(gram)
  return PrincipalPlane(
    jnp.asarray(start), jnp.asarray(directions), coordinates, explained
  )


def project(
  points: Points,
  origin: jax.Array | np.ndarray,
  directions: jax.Array | np.ndarray,
) -> np.ndarray:
  """Returns where points are in a plane, in float64.

  Args:
    points: [K, d]; or one, [d].
    origin: of the plane, [d].
    directions: orthonormal, [2, d].

  Returns:
    Coordinates, [K, 2]; or [2].
  """
  if np.ndim(points[0]) == 0:
    return project([jnp.asarray(points)], origin, directions)[0]
  rows = [np.asarray(point) for point in points]
  basis = np.asarray(directions)
  coordinates = np.zeros((len(rows), len(basis)))
  for x, part in _chunks(rows, np.asarray(origin)):
    coordinates += x @ basis[:, part].T.astype(np.float64)
  return coordinates


def _chunks(
  rows: Sequence[np.ndarray], origin: np.ndarray
) -> Iterator[tuple[np.ndarray, slice]]:
  """Yields rows - origin over successive weights, [K, c], and where that is."""
  for i in range(0, origin.size, _CHUNK):
    part = slice(i, i + _CHUNK)
    yield (
      np.stack([row[part].astype(np.float64) for row in rows])
      - origin[part].astype(np.float64)[None],
      part,
    )
