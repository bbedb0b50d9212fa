"""Lazy training: a model minus its initial function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from sam import masks
from tests import helpers
from training import losses
from training import state as state_lib

MODELS = {
  "mlp": {"model": "mlp", "num_neurons": (16, 8)},
  "two_layer": {
    "model": "two_layer",
    "num_neurons": (16,),
    "trained_layers": "first",
  },
  "vgg11": {"model": "vgg11", "num_filters": 4},
}


def _config(**fields):
  return helpers.config(
    **{"loss": "squared_error", "lazy_alpha": 10.0, "batch_size": 16} | fields
  )


def _variables(state):
  return {"params": state.params, **state.model_state}


@pytest.mark.parametrize("name", MODELS)
def test_starts_at_zero_with_the_gradient_of_the_plain_model(name):
  dataset = helpers.toy_dataset()
  trainer = helpers.Trainer(_config(**MODELS[name]), dataset)
  plain = models.create(_config(**MODELS[name], lazy_alpha=0.0), dataset)
  variables = _variables(trainer.state)
  initial = jax.device_get(variables["initial"])
  helpers.assert_same_bits(initial, variables["params"])
  x = dataset.normalize(jnp.asarray(dataset.splits["test"].inputs))
  y = dataset.splits["test"].targets
  outputs = jax.jit(trainer.setup.model.apply)(variables, x)
  np.testing.assert_array_equal(outputs, np.zeros((37, 4)))
  others = {k: v for k, v in variables.items() if k != "initial"}

  def plain_loss(params):
    """Returns |f - start - y / alpha|^2, where the start is a constant."""
    outputs = plain.apply(others | {"params": params}, x)
    targets = jax.lax.stop_gradient(outputs) + jax.nn.one_hot(y, 4) / 10
    return jnp.mean(losses.squared_error(outputs, targets))

  def centred_loss(params):
    batch = {"inputs": x, "targets": y}
    state = trainer.state.model_state
    return trainer.setup.loss_fn(params, state, batch, jax.random.key(0))[0]

  got, want = (
    jax.jit(jax.grad(loss))(variables["params"])
    for loss in (centred_loss, plain_loss)
  )
  assert helpers.max_difference(want, jax.tree.map(jnp.zeros_like, want)) > 1e-3
  assert helpers.max_difference(got, want) < 1e-6
  after = trainer.run(3)
  helpers.assert_same_bits(after.model_state["initial"], initial)
  assert helpers.max_difference(after.params, initial) > 1e-4
  assert state_lib.count_parameters(after)[0]["num_parameters"] == sum(
    w.size for w in jax.tree.leaves(initial)
  )


@pytest.mark.parametrize("pruner", ["magnitude", "snip"])
def test_is_centred_at_the_pruned_weights(pruner):
  c = _config(**MODELS["mlp"], sparsity=0.5, pruner=pruner)
  dataset = helpers.toy_dataset()
  state = helpers.Trainer(c, dataset).state
  pruned = masks.apply(state.params, state.mask)
  helpers.assert_same_bits(state.model_state["initial"], pruned)
  x = jnp.ones((3, 8, 8, 1))
  outputs = models.create(c, dataset).apply(_variables(state), x)
  np.testing.assert_array_equal(outputs, np.zeros((3, 4)))
