"""The loss along lines and planes, and the planes through points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import landscape
from sharpness import objective as objective_lib


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _objective(params, mask=None):
  """Returns one whose model is never called."""
  return objective_lib.Objective(
    lambda params, model_state, batch: batch["x"],
    lambda outputs, batch: outputs,
    params,
    [{"x": jnp.zeros(1)}],
    mask=mask,
  )


def _filters(kernel):
  return np.asarray(kernel).reshape(-1, kernel.shape[-1]).T


@pytest.mark.parametrize("include_biases", [False, True])
def test_directions_are_filter_normalized(include_biases):
  rng = np.random.default_rng(0)
  shapes = {"conv": (3, 3, 2, 4), "dense": (4, 3), "bias": (3,)}
  params = {k: jnp.asarray(rng.normal(size=s)) for k, s in shapes.items()}
  mask = {k: rng.random(s) < 0.7 for k, s in shapes.items()}
  mask["conv"][..., 1] = False  # A whole filter is pruned.
  mask["bias"][:] = True
  objective = _objective(params, mask)
  w = objective.weights
  flat = landscape.random_direction(
    objective, w, 0, include_biases=include_biases
  )
  assert flat.shape == (objective.dim,)
  direction, kept = objective.unflatten(flat), objective.unflatten(w)
  for name in ("conv", "dense"):
    norms = np.linalg.norm(_filters(direction[name]), axis=1)
    expected = np.linalg.norm(_filters(kept[name]), axis=1)
    np.testing.assert_allclose(norms, expected, rtol=1e-12)
  bias_norm = np.linalg.norm(params["bias"]) if include_biases else 0
  np.testing.assert_allclose(
    np.linalg.norm(direction["bias"]), bias_norm, rtol=1e-12
  )
  # Noise, not the weights themselves.
  cosine = flat @ w / (jnp.linalg.norm(flat) * jnp.linalg.norm(w))
  assert abs(cosine) < 0.5

  def again(seed):
    return landscape.random_direction(
      objective, w, seed, include_biases=include_biases
    )

  np.testing.assert_array_equal(again(0), flat)
  assert jnp.abs(again(1) - flat).max() > 0.1


def _quadratic():
  """Returns an objective on weights [5], and its loss in NumPy."""
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(7, 5)), rng.normal(size=7)
  batches = [{"x": x[:4], "y": y[:4]}, {"x": x[4:], "y": y[4:]}]
  objective = objective_lib.Objective(
    lambda params, model_state, batch: batch["x"] @ params,
    lambda outputs, batch: jnp.square(outputs - batch["y"]),
    jnp.asarray(rng.normal(size=5)),
    jax.tree.map(jnp.asarray, batches),
  )
  return objective, lambda w: np.mean((x @ np.asarray(w) - y) ** 2)


def test_losses_along_lines_and_planes():
  objective, loss = _quadratic()
  w = objective.weights
  u, v = jax.random.normal(jax.random.key(0), (2, 5))
  s, t = [-1.0, 0.0, 0.5], np.array([0.0, 2.0])

  found = landscape.line(objective, w, u, s)
  np.testing.assert_allclose(found, [loss(w + a * u) for a in s])
  found = landscape.plane(objective, w, u, v, s, t)
  expected = [[loss(w + a * u + b * v) for b in t] for a in s]
  np.testing.assert_allclose(found, expected)
  found = landscape.interpolate(objective, u, v, [0.0, 0.25, 1.0])
  np.testing.assert_allclose(
    found, [loss(u), loss(0.75 * u + 0.25 * v), loss(v)]
  )


def test_offsets_keep_the_precision_of_the_weights():
  objective, _ = _quadratic()
  seen = []
  objective.value = lambda w: seen.append(w.dtype) or 0.0
  w = jnp.ones(5, jnp.float32)
  landscape.plane(objective, w, w, w, np.zeros(2), np.zeros(2))
  landscape.interpolate(objective, w, w, np.zeros(2))
  assert set(seen) == {np.dtype("float32")}


@pytest.mark.parametrize("about", ["mean", "last"])
def test_principal_plane_is_that_of_an_svd(about, monkeypatch):
  monkeypatch.setattr(landscape, "_CHUNK", 7)
  points = np.random.default_rng(2).normal(size=(5, 40)) + 3
  start = points.mean(0) if about == "mean" else points[-1]
  found = landscape.principal_plane(points, None if about == "mean" else start)

  _, sizes, axes = np.linalg.svd(points - start)
  np.testing.assert_allclose(found.origin, start)
  np.testing.assert_allclose(
    np.abs(np.sum(found.directions * axes[:2], 1)), 1, rtol=1e-10
  )
  np.testing.assert_allclose(
    found.directions @ found.directions.T, np.eye(2), atol=1e-12
  )
  np.testing.assert_allclose(found.explained, (sizes**2 / sum(sizes**2))[:2])
  np.testing.assert_allclose(
    found.coordinates, (points - start) @ found.directions.T, atol=1e-12
  )

  # The signs follow the points, not the order of arithmetic.
  mirrored = landscape.principal_plane(2 * start - points, start)
  np.testing.assert_allclose(mirrored.directions, -found.directions, atol=1e-9)
  np.testing.assert_allclose(mirrored.coordinates, found.coordinates, atol=1e-9)

  point = start + 2 * found.directions[0] - found.directions[1] + 9 * axes[3]
  coordinates = landscape.project(point, start, found.directions)
  np.testing.assert_allclose(coordinates, [2, -1], atol=1e-9)
  both = landscape.project([point, start], start, found.directions)
  np.testing.assert_allclose(both, [[2, -1], [0, 0]], atol=1e-9)


def test_a_plane_has_three_points_of_float32():
  rng = np.random.default_rng(3)
  points = (100 + 0.1 * rng.normal(size=(3, 1000))).astype(np.float32)
  found = landscape.principal_plane(jnp.asarray(points))
  assert found.directions.dtype == np.float32
  np.testing.assert_allclose(sum(found.explained), 1)
  steps = found.coordinates @ np.asarray(found.directions)
  rebuilt = np.asarray(found.origin) + steps
  np.testing.assert_allclose(rebuilt, points, rtol=3e-7)


@pytest.mark.parametrize(
  "weights", [[-1.0, 1.0], [0.0, 1.0, 2.5], [0.0, 1.0, 2.5, 1.0 + 1e-9]]
)
def test_the_plane_of_a_line(weights):
  along = np.linspace(1, 2, 30)
  points = np.array(weights)[:, None] * along + 5
  found = landscape.principal_plane(points)
  np.testing.assert_allclose(found.explained[0], 1)
  assert found.explained[1] == 0  # Not what rounding leaves.
  np.testing.assert_allclose(
    found.directions @ found.directions.T, np.eye(2), atol=1e-12
  )
  np.testing.assert_allclose(
    np.abs(found.directions[0]), along / np.linalg.norm(along), rtol=1e-9
  )
  np.testing.assert_allclose(found.coordinates[:, 1], 0, atol=1e-9)
  again = landscape.principal_plane(points)
  np.testing.assert_array_equal(again.directions, found.directions)


def test_where_there_is_no_plane():
  with pytest.raises(ValueError, match="all points are the origin"):
    landscape.principal_plane(np.ones((3, 4)))
  with pytest.raises(ValueError, match="at least 2 weights, not 1"):
    landscape.principal_plane(np.ones((3, 1)))
