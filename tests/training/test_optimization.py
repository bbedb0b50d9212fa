"""What a config asks of base optimizers and schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import helpers
from training import optimization

STEPS_PER_EPOCH = 10


def _optimizer(c):
  factor = optimization.create_schedule(c, STEPS_PER_EPOCH)
  return optimization.create_optimizer(c, factor)


def test_num_train_steps_wins_over_epochs():
  c = helpers.config(num_epochs=10, num_train_steps=30, lr_scheduler="linear")
  assert optimization.num_train_steps(c, STEPS_PER_EPOCH) == 30
  factor = optimization.create_schedule(c, STEPS_PER_EPOCH)
  assert float(factor(jnp.int32(15))) == pytest.approx(0.5)


def test_warm_up():
  c = helpers.config(num_epochs=10, lr_scheduler="cosine", warmup_steps=20)
  factor = optimization.create_schedule(c, STEPS_PER_EPOCH)
  found = [float(factor(jnp.int32(step))) for step in (0, 10, 20, 60, 100)]
  assert found == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)


def test_stages():
  """Those of the learning rate come on top of its schedule."""
  c = helpers.config(
    num_epochs=10,
    lr_scheduler="step_half",
    stage_starts=(0.25, 0.5),
    stage_lr_factors=(3.0, 5.0),
    stage_rho_factors=(2.0, 10.0),
  )
  steps = [jnp.int32(step) for step in (0, 24, 25, 49, 50, 99)]
  rate = optimization.create_schedule(c, STEPS_PER_EPOCH)
  found = [float(rate(step)) for step in steps]
  assert found == pytest.approx([1, 1, 3, 3, 0.5, 0.5])
  rho = optimization.create_rho_schedule(c, STEPS_PER_EPOCH)
  assert [float(rho(step)) for step in steps] == [1, 1, 2, 2, 10, 10]
  constant = optimization.create_rho_schedule(helpers.config(), STEPS_PER_EPOCH)
  assert float(constant(jnp.int32(7))) == 1


PARAMS = {
  "first": {"kernel": jnp.array([[3.0]]), "bias": jnp.array([4.0])},
  "second": {"kernel": jnp.array([[1.0]])},
}


def _after(transformation, num_steps, **extra):
  params = PARAMS
  state = transformation.init(params)
  for i in range(num_steps):
    grads = jax.tree.map(lambda w, i=i: jnp.sin(w + i), params)
    updates, state = transformation.update(grads, state, params, **extra)
    params = optax.apply_updates(params, updates)
  return jax.flatten_util.ravel_pytree(params)[0]


@pytest.mark.parametrize(
  ("fields", "want"),
  [
    ({"optimizer": "sgd", "momentum": 0.8}, optax.sgd(0.1, momentum=0.8)),
    (
      {"optimizer": "sgd", "nesterov": True},
      optax.sgd(0.1, momentum=0.9, nesterov=True),
    ),
    (
      {
        "base_optimizer": "adamw",
        "adam_b1": 0.7,
        "adam_b2": 0.98,
        "adam_eps": 1e-3,
        "weight_decay": 0.1,
      },
      optax.adamw(0.1, 0.7, 0.98, 1e-3, weight_decay=0.1),
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
  ids=["sgd", "nesterov", "sam-adamw", "clip", "sst2_example"],
)
def test_fields_reach_the_optimizer(fields, want):
  c = helpers.config(lr_scheduler="constant", **fields)
  got = _after(
    _optimizer(c),
    7,
    learning_rate=jnp.float32(0.1),
    weight_decay=c.weight_decay,
  )
  np.testing.assert_allclose(got, _after(want, 7), rtol=2e-6)


def test_the_first_layer_is_kept_on_its_sphere():
  c = helpers.config(
    model="two_layer",
    num_neurons=(1,),
    optimizer="sgd",
    lr_scheduler="constant",
    first_layer_norm=10.0,
  )
  got = _after(
    _optimizer(c),
    1,
    learning_rate=0.5,
    weight_decay=0.0,
  )
  first, second = got[:2], got[2]
  assert float(jnp.linalg.norm(first)) == pytest.approx(10)
  assert float(second) == pytest.approx(1 - 0.5 * np.sin(1))
