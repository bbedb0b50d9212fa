"""Sim-BN and Sim-LN of Wen et al., their initial weights and biases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models import two_layer
from tests import helpers


class Task:
  num_outputs = 1


def _create(normalization, num_neurons=4, **fields):
  """Returns a model, its variables and the inputs it was initialized with."""
  c = helpers.config(
    model="two_layer",
    num_neurons=(num_neurons,),
    initialization="lazy",
    normalization=normalization,
    **fields,
  )
  model = models.create(c, Task())
  seen = jnp.array(np.random.default_rng(0).normal(size=(7, 3)), jnp.float32)
  return model, model.init(jax.random.key(0), seen), seen


def _hidden(variables, x):
  first = variables["params"]["first"]
  return np.maximum(x @ first["kernel"] + np.asarray(first["bias"])[None], 0)


def test_sim_bn_by_hand():
  model, variables, seen = _create("sim_bn")
  gamma = jnp.array([1.0, 2.0, -1.0, 0.5])
  params = variables["params"] | {"normalization": {"scale": gamma}}
  variables = {**variables, "params": params}
  np.testing.assert_array_equal(variables["fixed"]["training_inputs"], seen)
  x = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]], np.float32)
  rms = np.sqrt(np.mean(np.square(_hidden(variables, seen)), 0))
  assert rms.min() > 0
  normed = _hidden(variables, x) / rms[None] * np.asarray(gamma)[None]
  want = normed @ params["second"]["kernel"]
  np.testing.assert_allclose(model.apply(variables, x), want, rtol=1e-5)


def test_sim_ln_by_hand():
  model, variables, seen = _create("sim_ln")
  hidden = _hidden(variables, seen)
  norms = np.linalg.norm(hidden, axis=1, keepdims=True)
  assert norms.min() > two_layer.SIM_LN_EPS
  want = hidden / norms @ variables["params"]["second"]["kernel"]
  np.testing.assert_allclose(model.apply(variables, seen), want, rtol=1e-5)


@pytest.mark.parametrize("normalization", ["sim_bn", "sim_ln"])
def test_size_of_the_first_layer_does_not_matter(normalization):
  model, variables, seen = _create(normalization)
  params = variables["params"]
  larger = jax.tree.map(lambda w: 3 * w, params["first"])
  scaled = {**variables, "params": params | {"first": larger}}
  np.testing.assert_allclose(
    model.apply(scaled, seen), model.apply(variables, seen), rtol=1e-5
  )


@pytest.mark.parametrize("normalization", ["sim_bn", "sim_ln"])
def test_neurons_that_are_off_have_outputs_and_gradients_of_zero(normalization):
  model, variables, _ = _create(normalization)
  first = {"kernel": jnp.zeros((3, 4)), "bias": jnp.full(4, -1.0)}
  params = variables["params"] | {"first": first}

  def output(params, x):
    return model.apply({**variables, "params": params}, x)[0, 0]

  # In Sim-BN also at an input that activates what no training input did.
  kernel = first["kernel"].at[0, 0].set(0.01)
  for p in (params, params | {"first": {**first, "kernel": kernel}}):
    x = jnp.array([[1000.0 if normalization == "sim_bn" else 0.0, 0.0, 0.0]])
    value, grads = jax.value_and_grad(output)(p, x)
    assert float(value) == 0
    assert all(not np.asarray(g).any() for g in jax.tree.leaves(grads))


def test_scale_of_the_first_layer():
  _, plain, _ = _create("none")
  _, scaled, _ = _create("none", first_layer_scale=0.01)
  for name in ("kernel", "bias"):
    np.testing.assert_allclose(
      scaled["params"]["first"][name],
      0.01 * plain["params"]["first"][name],
      rtol=1e-6,
    )
  helpers.assert_same_bits(
    plain["params"]["second"], scaled["params"]["second"]
  )


def test_mlp_with_a_bias_in_the_first_layer_alone():
  c = helpers.config(model="mlp", num_neurons=(4, 3), bias_layers="first")
  params = models.create(c, Task()).init(jax.random.key(0), jnp.ones((1, 5)))
  biases = [sorted(layer) for _, layer in sorted(params["params"].items())]
  assert biases == [["bias", "kernel"], ["kernel"], ["kernel"]]
