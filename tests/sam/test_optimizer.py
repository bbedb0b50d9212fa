"""Base optimizers and schedules against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sam import optimizer
from sam import schedule

NUM_STEPS = 100


@pytest.mark.parametrize(
  ("name", "warmup_steps", "want"),
  [
    ("constant", 0, {0: 1, 99: 1}),
    ("step", 0, {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    ("step_mnist", 0, {24: 1, 25: 0.1, 49: 0.1, 50: 0.01, 75: 0.001}),
    ("step_half", 0, {49: 1, 50: 0.1, 99: 0.1}),
    ("linear", 0, {0: 1, 50: 0.5, 75: 0.25, 100: 0}),
    ("cosine", 0, {0: 1, 50: 0.5, 100: 0}),
    ("cosine", 20, {0: 0, 10: 0.5, 20: 1, 60: 0.5, 100: 0}),
    ("inverse_sqrt", 16, {0: 0, 8: 0.5 / 4, 16: 1 / 4, 64: 1 / 8}),
  ],
)
def test_schedules(name, warmup_steps, want):
  factor = schedule.create(name, NUM_STEPS, warmup_steps=warmup_steps)
  for step, value in want.items():
    got = float(factor(jnp.int32(step)))
    assert got == pytest.approx(value, abs=1e-6), step


@pytest.mark.parametrize("name", ["inverse_sqrt", "steps"])
def test_what_is_no_schedule(name):
  with pytest.raises(ValueError, match=f"'{name}' is unknown, or lacks its"):
    schedule.create(name, NUM_STEPS)


def test_stages():
  factor = schedule.staged((0.25, 0.5), (2.0, 10.0), NUM_STEPS)
  found = [float(factor(jnp.int32(step))) for step in (0, 24, 25, 49, 50, 99)]
  assert found == [1, 1, 2, 2, 10, 10]
  constant = schedule.staged((), (), NUM_STEPS)
  assert float(constant(jnp.int32(7))) == 1


def _descend(transformation, num_steps, **extra):
  params = {"w": jnp.array([1.0, -2.0, 3.0])}
  state = transformation.init(params)
  for i in range(num_steps):
    grads = jax.tree.map(lambda w, i=i: jnp.sin(w + i), params)
    updates, state = transformation.update(grads, state, params, **extra)
    params = optax.apply_updates(params, updates)
  return params["w"]


CONSTANT = schedule.create("constant", NUM_STEPS)


@pytest.mark.parametrize(
  ("name", "options", "weight_decay", "want"),
  [
    ("sgd", {"momentum": 0.0}, 0.0, optax.sgd(0.1)),
    (
      "sgd",
      {"momentum": 0.9},
      0.01,
      optax.chain(
        optax.add_decayed_weights(0.01), optax.sgd(0.1, momentum=0.9)
      ),
    ),
    (
      "sgd",
      {"nesterov": True},
      0.0,
      optax.sgd(0.1, momentum=0.9, nesterov=True),
    ),
    (
      "adam",
      {"adam_b2": 0.98},
      0.01,
      optax.chain(optax.add_decayed_weights(0.01), optax.adam(0.1, 0.9, 0.98)),
    ),
    (
      "adamw",
      {"adam_eps": 1e-9},
      0.1,
      optax.adamw(0.1, eps=1e-9, weight_decay=0.1),
    ),
    (
      "sgd",
      {"gradient_clip": 0.5},
      0.0,
      optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
    ),
    (
      "sgd",
      {"decay_after_learning_rate": True},
      0.01,
      optax.chain(
        optax.sgd(0.1, momentum=0.9), optax.add_decayed_weights(0.01)
      ),
    ),
  ],
  ids=["plain", "sgd", "nesterov", "adam", "adamw", "clip", "decay_after"],
)
def test_base_optimizers_equal_optax(name, options, weight_decay, want):
  ours = optimizer.create(name, CONSTANT, **options)
  got = _descend(
    ours, 7, learning_rate=jnp.float32(0.1), weight_decay=weight_decay
  )
  np.testing.assert_allclose(got, _descend(want, 7), rtol=2e-6)


def test_nesterov_by_hand():
  """v = 0.5 v + g, and a step is g + 0.5 v: 1.5 of v = 1, 1.75 of v = 1.5."""
  ours = optimizer.create("sgd", CONSTANT, momentum=0.5, nesterov=True)
  params = {"w": jnp.float32(0)}
  state = ours.init(params)
  for want in (-1.5, -3.25):
    updates, state = ours.update(
      {"w": jnp.float32(1)},
      state,
      params,
      learning_rate=1.0,
      weight_decay=0.0,
    )
    params = optax.apply_updates(params, updates)
    assert float(params["w"]) == want


def test_what_is_no_optimizer():
  with pytest.raises(ValueError, match="optimizer 'sam': must be sgd, "):
    optimizer.create("sam", CONSTANT)


def test_a_layer_is_kept_on_its_sphere():
  """Updates along it and out of it: (3, 4) - 0.5 (2, 0) has norm sqrt(20)."""
  params = {
    "first": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([4.0])},
    "second": {"kernel": jnp.array([[1.0]])},
  }
  grads = {
    "first": {"kernel": jnp.array([[2.0]]), "bias": jnp.array([0.0])},
    "second": {"kernel": jnp.array([[1.0]])},
  }
  ours = optimizer.create(
    "sgd", CONSTANT, momentum=0.0, fixed_norms={"first": 10.0}
  )
  updates, _ = ours.update(
    grads, ours.init(params), params, learning_rate=0.5, weight_decay=0.0
  )
  after = optax.apply_updates(params, updates)
  assert float(after["first"]["kernel"][0, 0]) == pytest.approx(20 / 20**0.5)
  assert float(after["first"]["bias"][0]) == pytest.approx(40 / 20**0.5)
  assert float(after["second"]["kernel"][0, 0]) == 0.5
