"""Constants along a step against quadratics and a formula by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sharpness import objective as objective_lib
from sharpness import smoothness


def identity(outputs, batch):
  return outputs


def half_square_form(params, model_state, batch):
  return jnp.einsum("bij,i,j->b", batch["h"], params["w"], params["w"]) / 2


def quadratic(h):
  return objective_lib.Objective(
    half_square_form,
    identity,
    {"w": jnp.zeros(h.shape[-1])},
    [{"h": jnp.asarray(h)[None]}],
  )


def psd(seed, dim=5):
  root = np.random.default_rng(seed).normal(size=(dim, dim))
  return root @ root.T


def test_a_quadratic_has_the_constants_of_its_hessian():
  with jax.enable_x64():
    h = psd(0)
    rng = np.random.default_rng(1)
    w, w_next = rng.normal(size=(2, 5))
    got = smoothness.along_step(quadratic(h), jnp.array(w), jnp.array(w_next))
    v = w_next - w
    points = [w + i / 10 * v for i in range(1, 11)]
    want = min((h @ x) @ (h @ x) / (x @ h @ x / 2) for x in points)
    assert got.beta == pytest.approx(
      np.linalg.norm(h @ v) / np.linalg.norm(v), rel=1e-10
    )
    assert got.alpha == pytest.approx(want, rel=1e-10)

    values, vectors = np.linalg.eigh(h)
    for value, vector in zip(values, vectors.T, strict=True):
      along = smoothness.along_step(
        quadratic(h), jnp.array(3 * vector), jnp.array(vector)
      )
      # f = value x^2 / 2 and its gradient value x: alpha is twice the value.
      assert along.beta == pytest.approx(value, rel=1e-6)
      assert along.alpha == pytest.approx(2 * value, rel=1e-6)


def fourth_power(params, model_state, batch):
  return (params["w"][0] - batch["center"]) ** 4 + 3


def test_the_extremes_are_taken_over_all_points_and_no_others():
  with jax.enable_x64():
    objective = objective_lib.Objective(
      fourth_power,
      identity,
      {"w": jnp.zeros(1)},
      [{"center": jnp.zeros(2)}, {"center": jnp.zeros(1)}],
    )
    # From -2 to 1 by quarters: -1.25, -.5, .25, 1. With slope 4 x^3 the change
    # of slope over distance is 4 (x^2 - 2 x + 4), and alpha is 16 x^2.
    got = smoothness.along_step(
      objective, jnp.full(1, -2.0), jnp.ones(1), spacing=0.25, minimum=3.0
    )
    assert got.beta == pytest.approx(4 * (1.25**2 + 2.5 + 4))
    assert got.alpha == pytest.approx(16 * 0.25**2)
    # Back again the steepest is the last: 4 (x^2 + x + 1) at -2.
    got = smoothness.along_step(
      objective, jnp.ones(1), jnp.full(1, -2.0), spacing=0.25, minimum=3.0
    )
    assert got.beta == pytest.approx(4 * (4 - 2 + 1))
    assert got.alpha == pytest.approx(16 * 0.25**2)
    # By halves: -.5 and 1.
    got = smoothness.along_step(
      objective, jnp.full(1, -2.0), jnp.ones(1), spacing=0.5, minimum=3.0
    )
    assert got.beta == pytest.approx(4 * (0.25 + 1 + 4))
    assert got.alpha == pytest.approx(16 * 0.25)


def test_nothing_moves_or_nothing_is_left_to_lose():
  with jax.enable_x64():
    objective = quadratic(np.diag([1.0, 2.0]))
    w = jnp.array([0.0, 3.0])
    still = smoothness.along_step(objective, w, w)
    assert math.isnan(still.beta)
    assert still.alpha == pytest.approx(4.0)
    # The last point is the minimum, and puts no bound on alpha.
    arrived = smoothness.along_step(objective, w, jnp.zeros(2))
    assert arrived == pytest.approx((2.0, 4.0))
    flat = quadratic(np.zeros((2, 2)))
    assert smoothness.along_step(flat, w, jnp.zeros(2)) == (0.0, math.inf)
    with pytest.raises(ValueError, match=r"below minimum=1\.0"):
      smoothness.along_step(objective, w, jnp.zeros(2), minimum=1.0)


@pytest.mark.parametrize("spacing", [0.0, -0.1, 0.3, 1.5, math.nan])
def test_spacing_divides_the_step(spacing):
  with pytest.raises(ValueError, match="spacing"):
    smoothness.along_step(
      quadratic(np.eye(1)), jnp.zeros(1), jnp.ones(1), spacing=spacing
    )
