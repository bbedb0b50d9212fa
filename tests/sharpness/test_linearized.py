"""Linearized networks against dense Jacobians; which ReLUs have switched."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import centred
from models import mlp
from models import resnet
from sharpness import linearized
from sharpness import objective as objective_lib

SHAPES = ((3, 4), (4,), (4, 2))
KEPT = np.delete(np.arange(24), [1, 13, 20])


@pytest.fixture(autouse=True)
def _float64():
  with jax.enable_x64(True):
    yield


def _predict(params, model_state, batch):
  first, bias, second = params
  hidden = jnp.tanh(batch["x"] @ first + bias[None] + model_state)
  return hidden @ second


def _dense_network(w, x):
  """Returns the outputs, written anew on the 21 kept of 24 weights."""
  full = jnp.zeros(24).at[KEPT].set(w)
  first, bias, second = full[:12], full[12:16], full[16:]
  hidden = jnp.tanh(x @ first.reshape(3, 4) + bias[None] + 0.3)
  return hidden @ second.reshape(4, 2)


def _squared(outputs, batch):
  return jnp.sum(jnp.square(outputs - batch["y"]), -1)


def _cross_entropy(outputs, batch):
  return -jnp.sum(batch["y"] * jax.nn.log_softmax(outputs), -1)


def _slopes_of_squared(outputs, targets):
  """Returns the derivatives of the loss of outputs, [N, 2] and [N, 2, 2]."""
  return 2 * (outputs - targets), np.tile(2 * np.eye(2), (len(outputs), 1, 1))


def _slopes_of_cross_entropy(outputs, targets):
  p = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
  return p - targets, p[:, :, None] * (np.eye(2) - p[:, None, :])


@pytest.mark.parametrize(
  ("loss", "slopes"),
  [
    (_squared, _slopes_of_squared),
    (_cross_entropy, _slopes_of_cross_entropy),
  ],
)
def test_linearized_objective(loss, slopes):
  rng = np.random.default_rng(0)
  x, targets = rng.normal(size=(7, 3)), np.eye(2)[rng.integers(0, 2, 7)]
  mask = np.split(np.isin(np.arange(24), KEPT), [12, 16])
  objective = objective_lib.Objective(
    _predict,
    loss,
    [jnp.asarray(rng.normal(size=s)) for s in SHAPES],
    [{"x": jnp.asarray(x), "y": jnp.asarray(targets)}],
    model_state=jnp.full((1, 1), 0.3),
    mask=[m.reshape(s) for m, s in zip(mask, SHAPES, strict=True)],
  )
  w0 = objective.weights
  step, v = rng.normal(size=(2, 21))
  w = w0 + step

  start = np.asarray(_dense_network(w0, x))
  jacobian = np.asarray(jax.jit(jax.jacfwd(_dense_network))(w0, x))
  outputs = start + jacobian @ step
  slope, curvature = slopes(outputs, targets)
  gradient = np.einsum("nod,no->d", jacobian, slope) / 7

  def curved(v, curvature):
    return np.einsum(
      "nod,nop,npe,e->d", jacobian, curvature, jacobian, v, optimize=True
    )

  hv = curved(v, curvature) / 7
  tangent = linearized.linearized(objective)
  np.testing.assert_allclose(tangent.outputs(w), outputs, rtol=1e-10)
  np.testing.assert_allclose(tangent.gradient(w), gradient, atol=1e-12)
  np.testing.assert_allclose(tangent.hvp(w, v), hv, atol=1e-12)
  np.testing.assert_allclose(tangent.ggn_vp(w, v), hv, atol=1e-12)
  # At w0, the Gauss-Newton matrix is that of the network.
  np.testing.assert_allclose(
    objective.ggn_vp(w0, v),
    curved(v, slopes(start, targets)[1]) / 7,
    atol=1e-12,
  )

  # About other weights, with the same program: there it is the network.
  other = linearized.linearized(objective, w)
  assert other._function == tangent._function
  network = objective.outputs(w)
  assert np.abs(network - outputs).max() > 0.1
  np.testing.assert_allclose(other.outputs(w), network)
  np.testing.assert_array_equal(other.weights, w0)


def test_linearized_function():
  def network(w, batch):
    return w["a"] * w["b"] * batch

  model = linearized.linearize(network, {"a": 2.0, "b": 3.0})
  x = jnp.array([1.0, -2.0])
  # 6 + 3 (a - 2) + 2 (b - 3)
  np.testing.assert_allclose(model({"a": 4.0, "b": 2.5}, x), (6 + 6 - 1) * x)


def _variables(model, inputs, seed):
  """Returns variables of a Flax model at random, without compiling its init."""
  rng = np.random.default_rng(seed)
  init = functools.partial(model.init, train=False)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(size=x.shape)),
    jax.eval_shape(init, jax.random.key(0), inputs),
  )


def _classification(model, inputs):
  """Returns an objective of a Flax model, and two weights."""
  start, end = (_variables(model, inputs, seed) for seed in (0, 1))
  params = start.pop("params")

  def predict(params, model_state, batch):
    variables = {"params": params, **model_state}
    return model.apply(variables, batch["inputs"], train=False)

  objective = objective_lib.Objective(
    predict,
    lambda outputs, batch: outputs[:, 0],
    params,
    [{"inputs": inputs[:4]}, {"inputs": inputs[4:]}],
    model_state=start,
  )
  return objective, objective.weights, objective.flatten(end["params"])


def _dense_outputs(model, params, inputs):
  _, variables = model.apply(
    {"params": params},
    inputs,
    capture_intermediates=lambda module, _: isinstance(module, nn.Dense),
  )
  captured = variables["intermediates"]
  return [captured[f"Dense_{i}"]["__call__"][0] for i in range(2)]


def test_activation_stability_of_an_mlp():
  kwargs = dict(dtype=jnp.float64, param_dtype=jnp.float64)
  model = mlp.MLP(num_outputs=3, num_neurons=(5, 8), **kwargs)
  inputs = jax.random.normal(jax.random.key(2), (7, 6))
  objective, w0, w = _classification(model, inputs)

  same = [
    (np.asarray(x) > 0) == (np.asarray(y) > 0)
    for x, y in zip(
      _dense_outputs(model, objective.unflatten(w0), inputs),
      _dense_outputs(model, objective.unflatten(w), inputs),
      strict=True,
    )
  ]
  expected = np.mean(np.concatenate(same, 1))  # Over 13 units, 7 examples.
  assert 0.2 < expected < 0.9
  found = linearized.activation_stability(objective, w0, w)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert linearized.activation_stability(objective, w0, w0) == 1

  # What the centred model subtracts does not dilute it.
  lazy, _, _ = _classification(centred.Centred(model), inputs)
  found = linearized.activation_stability(lazy, w0, w)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  # And the ReLUs of a linearized model cannot switch.
  with pytest.raises(ValueError, match="no ReLU of the model"):
    linearized.activation_stability(linearized.linearized(objective), w0, w)


def test_relus_are_counted_after_normalization_and_shortcuts():
  model = resnet.ResNet(num_outputs=2, num_filters=1, blocks_per_stage=1)
  images = jnp.zeros((2, 8, 8, 1))
  variables = _variables(model, images, 0)
  params = variables.pop("params")

  def network(params, images):
    return model.apply({"params": params, **variables}, images, train=False)

  found = jax.eval_shape(linearized.relu_inputs(network), params, images)
  # One after the stem, two in each of four blocks of 1, 2, 4, 8 filters.
  sizes = [(8, 1)] * 3 + [(4, 2)] * 2 + [(2, 4)] * 2 + [(1, 8)] * 2
  assert [x.shape for x in found] == [(2, s, s, c) for s, c in sizes]


def test_what_relus_rectify():
  @jax.checkpoint
  def block(w, x):
    return nn.relu(x + x @ w)

  def network(w, x):
    return jnp.tanh(jax.jit(block)(w, nn.relu(x)) @ w)

  rng = np.random.default_rng(0)
  w, x = rng.normal(size=(4, 4)), rng.normal(size=(3, 4))
  # The first ReLU does not depend on the weights.
  (found,) = linearized.relu_inputs(network)(w, x)
  hidden = np.maximum(x, 0)
  np.testing.assert_allclose(found, hidden + hidden @ w)

  with pytest.raises(ValueError, match="no ReLU of the model"):
    linearized.relu_inputs(lambda w, x: jnp.tanh(w) @ x.T)(w, x)


def test_a_relu_that_would_be_missed():
  def network(w, x):
    return jax.lax.scan(lambda x, _: (nn.relu(w * x), None), x, length=2)[0]

  with pytest.raises(ValueError, match="a ReLU in a scan is not counted"):
    linearized.relu_inputs(network)(jnp.ones((1,)), jnp.ones((3,)))
