"""Base optimizers and schedules against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sam import optimizer
from sam import schedule
from tests import helpers

STEPS_PER_EPOCH = 10


@pytest.mark.parametrize(
  ("fields", "want"),
  [
    ({"lr_scheduler": "constant"}, {0: 1, 99: 1}),
    (
      {"lr_scheduler": "step"},
      {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01},
    ),
    (
      {"lr_scheduler": "step_mnist"},
      {24: 1, 25: 0.1, 49: 0.1, 50: 0.01, 75: 0.001},
    ),
    ({"lr_scheduler": "step_half"}, {49: 1, 50: 0.1, 99: 0.1}),
    ({"lr_scheduler": "linear"}, {0: 1, 50: 0.5, 75: 0.25, 100: 0}),
    ({"lr_scheduler": "cosine"}, {0: 1, 50: 0.5, 100: 0}),
    (
      {"lr_scheduler": "cosine", "warmup_steps": 20},
      {0: 0, 10: 0.5, 20: 1, 60: 0.5, 100: 0},
    ),
    (
      {"lr_scheduler": "inverse_sqrt", "warmup_steps": 16},
      {0: 0, 8: 0.5 / 4, 16: 1 / 4, 64: 1 / 8},
    ),
    (
      {
        "lr_scheduler": "step_half",
        "stage_starts": (0.25, 0.5),
        "stage_lr_factors": (3.0, 5.0),
        "stage_rho_factors": (1.0, 1.0),
      },
      {0: 1, 24: 1, 25: 3, 49: 3, 50: 0.5, 99: 0.5},
    ),
  ],
  ids=lambda x: "-".join(map(str, x.values())) if "lr_scheduler" in x else "",
)
def test_schedules(fields, want):
  c = helpers.config(num_epochs=10, **fields)
  factor = schedule.create(c, STEPS_PER_EPOCH)
  for step, value in want.items():
    got = float(factor(jnp.int32(step)))
    assert got == pytest.approx(value, abs=1e-6), step


def test_num_train_steps_wins_over_epochs():
  c = helpers.config(num_epochs=10, num_train_steps=30, lr_scheduler="linear")
  assert schedule.num_train_steps(c, STEPS_PER_EPOCH) == 30
  factor = schedule.create(c, STEPS_PER_EPOCH)
  assert float(factor(jnp.int32(15))) == pytest.approx(0.5)


def _descend(transformation, num_steps, **extra):
  params = {"w": jnp.array([1.0, -2.0, 3.0])}
  state = transformation.init(params)
  for i in range(num_steps):
    grads = jax.tree.map(lambda w, i=i: jnp.sin(w + i), params)
    updates, state = transformation.update(grads, state, params, **extra)
    params = optax.apply_updates(params, updates)
  return params["w"]


@pytest.mark.parametrize(
  ("fields", "want"),
  [
    ({"optimizer": "sgd", "momentum": 0.0}, optax.sgd(0.1)),
    (
      {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
      optax.chain(
        optax.add_decayed_weights(0.01), optax.sgd(0.1, momentum=0.9)
      ),
    ),
    (
      {"optimizer": "adam", "adam_b2": 0.98, "weight_decay": 0.01},
      optax.chain(optax.add_decayed_weights(0.01), optax.adam(0.1, 0.9, 0.98)),
    ),
    (
      {"base_optimizer": "adamw", "adam_eps": 1e-9, "weight_decay": 0.1},
      optax.adamw(0.1, eps=1e-9, weight_decay=0.1),
    ),
    (
      {"optimizer": "sgd", "gradient_clip": 0.5},
      optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
    ),
    (
      {
        "dataset": "lexicon",
        "model": "lstm",
        "optimizer": "sgd",
        "weight_decay": 0.01,
        "weight_decay_form": "sst2_example",
      },
      optax.chain(
        optax.sgd(0.1, momentum=0.9), optax.add_decayed_weights(0.01)
      ),
    ),
  ],
  ids=["plain", "sgd", "adam", "sam-adamw", "clip", "sst2_example"],
)
def test_base_optimizers_equal_optax(fields, want):
  c = helpers.config(lr_scheduler="constant", **fields)
  ours = optimizer.create(c, STEPS_PER_EPOCH)
  got = _descend(
    ours, 7, learning_rate=jnp.float32(0.1), weight_decay=c.weight_decay
  )
  np.testing.assert_allclose(got, _descend(want, 7), rtol=2e-6)


def test_rho_by_stage():
  c = helpers.config(
    num_epochs=10,
    stage_starts=(0.25, 0.5),
    stage_lr_factors=(1.0, 1.0),
    stage_rho_factors=(2.0, 10.0),
  )
  factor = schedule.create_rho(c, STEPS_PER_EPOCH)
  found = [float(factor(jnp.int32(step))) for step in (0, 24, 25, 49, 50, 99)]
  assert found == [1, 1, 2, 2, 10, 10]
  constant = schedule.create_rho(helpers.config(), STEPS_PER_EPOCH)
  assert float(constant(jnp.int32(7))) == 1


def test_the_first_layer_is_kept_on_its_sphere():
  """Updates along it and out of it: (3, 4) - 0.5 (2, 0) has norm sqrt(20)."""
  c = helpers.config(
    model="two_layer",
    num_neurons=(1,),
    optimizer="sgd",
    momentum=0.0,
    lr_scheduler="constant",
    first_layer_norm=10.0,
  )
  params = {
    "first": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([4.0])},
    "second": {"kernel": jnp.array([[1.0]])},
  }
  grads = {
    "first": {"kernel": jnp.array([[2.0]]), "bias": jnp.array([0.0])},
    "second": {"kernel": jnp.array([[1.0]])},
  }
  ours = optimizer.create(c, STEPS_PER_EPOCH)
  updates, _ = ours.update(
    grads, ours.init(params), params, learning_rate=0.5, weight_decay=0.0
  )
  after = optax.apply_updates(params, updates)
  assert float(after["first"]["kernel"][0, 0]) == pytest.approx(20 / 20**0.5)
  assert float(after["first"]["bias"][0]) == pytest.approx(40 / 20**0.5)
  assert float(after["second"]["kernel"][0, 0]) == 0.5
