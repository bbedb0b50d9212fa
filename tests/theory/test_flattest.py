"""The flattest networks: loss, error and trace, against dense Hessians."""

import itertools

import jax
from jax import flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from models import two_layer
from sharpness import objective as objective_lib
from theory import flattest
from training import losses

D, N = 5, 12


def cube(d):
  return np.array(list(itertools.product((-1.0, 1.0), repeat=d)))


def sample(d, n):
  """Returns different points of the cube and x1 x2."""
  rng = np.random.default_rng(0)
  signs = np.unique(2.0 * rng.integers(0, 2, (10 * n, d)) - 1, axis=0)
  chosen = signs[rng.permutation(len(signs))[:n]]
  return chosen, chosen[:, 0] * chosen[:, 1]


def network(params, normalization="none", training_inputs=None):
  """Returns our model with these weights, as a function of weights, inputs."""
  model = two_layer.TwoLayer(
    num_outputs=1,
    num_neurons=params["first"]["kernel"].shape[1],
    use_bias="bias" in params["first"],
    normalization=normalization,
    dtype=jnp.float64,
    param_dtype=jnp.float64,
  )
  fixed = {}
  if normalization == "sim_bn":
    fixed = {"fixed": {"training_inputs": jnp.asarray(training_inputs)}}
  return lambda params, inputs: model.apply({"params": params, **fixed}, inputs)


def dense_trace(predict, params, inputs, targets, loss=losses.squared_error):
  """Returns the trace of the whole Hessian of the mean loss."""
  w, unravel = flatten_util.ravel_pytree(params)

  def mean_loss(w):
    return jnp.mean(loss(predict(unravel(w), inputs), targets[:, None]))

  return float(jnp.trace(jax.jit(jax.hessian(mean_loss))(w)))


# Construction -> normalization, weights for d inputs and a training set, the
# trace at d = 30, and whether it generalizes.
CASES = {
  "no_bias": (
    "none",
    lambda x, y: flattest.generalizing_no_bias(x.shape[1]),
    4 * np.sqrt(30),  # 21.91
    True,
  ),
  "bias": (
    "none",
    lambda x, y: flattest.generalizing_bias(x.shape[1]),
    4 * np.sqrt(31),  # 22.27
    True,
  ),
  "bias_memorizing": (
    "none",
    flattest.memorizing_bias,
    4 * np.sqrt(31),
    False,
  ),
  "sim_ln": (
    "sim_ln",
    lambda x, y: flattest.generalizing_sim_ln(x.shape[1]),
    2.0,
    True,
  ),
  "sim_ln_memorizing": ("sim_ln", flattest.memorizing_sim_ln, 2.0, False),
}


@pytest.mark.parametrize("name", CASES)
def test_flattest_networks(name):
  normalization, create, trace_at_30, generalizes = CASES[name]
  with jax.enable_x64():
    # The paper's size.
    x, y = sample(30, 100)
    params = create(x, y)
    predict = network(params, normalization)
    outputs = np.asarray(predict(params, x))
    np.testing.assert_allclose(outputs[:, 0], y, atol=1e-12)
    trace = flattest.trace_of_squared_error(predict, params, jnp.asarray(x))
    assert float(trace) == pytest.approx(trace_at_30, rel=1e-12)

    # All inputs of a smaller cube, and every entry of the Hessian.
    x, y = sample(D, N)
    params = create(x, y)
    predict = network(params, normalization)
    everywhere = cube(D)
    signs = np.sign(np.asarray(predict(params, everywhere))[:, 0])
    error = np.mean(signs != everywhere[:, 0] * everywhere[:, 1])
    assert error == (0 if generalizes else 1 - N / 2**D)
    exact = flattest.trace_of_squared_error(predict, params, jnp.asarray(x))
    dense = dense_trace(predict, params, x, y)
    assert dense == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(("d", "n"), [(10, 30), (8, 20)])
@pytest.mark.parametrize("name", ["bias_memorizing", "sim_ln_memorizing"])
def test_memorizing_networks_are_off_at_all_other_points(name, d, n):
  """So few examples that the nearest one is not a neighbour on the cube."""
  normalization, create, _, _ = CASES[name]
  with jax.enable_x64():
    x, y = sample(d, n)
    params = create(x, y)
    predict = network(params, normalization)
    outputs = np.asarray(predict(params, cube(d)))[:, 0]
    assert np.count_nonzero(outputs) == n
    np.testing.assert_allclose(np.asarray(predict(params, x))[:, 0], y)


def test_minima_are_those_of_the_formulae():
  x, y = sample(30, 100)
  assert flattest.minimum_without_bias(x, y) == pytest.approx(21.908902)
  assert flattest.minimum_with_bias(x, y) == pytest.approx(22.271057)
  # One point at distance 2 and target 3: 4 * 3 * 2, and 4 * 3 * sqrt(5).
  far = np.array([[0.0, 2.0]])
  assert flattest.minimum_without_bias(far, np.array([3.0])) == 24
  bound = flattest.minimum_with_bias(far, np.array([3.0]))
  assert bound == pytest.approx(12 * np.sqrt(5))


def test_other_interpolating_networks_are_sharper():
  """Scaling W1 and b1 up and W2 down keeps the function, not the trace."""
  with jax.enable_x64():
    x, y = sample(D, N)
    flat = flattest.memorizing_bias(x, y)
    steep = {
      "first": jax.tree.map(lambda w: 1.5 * w, flat["first"]),
      "second": jax.tree.map(lambda w: w / 1.5, flat["second"]),
    }
    predict = network(flat)
    traces = [
      float(flattest.trace_of_squared_error(predict, p, jnp.asarray(x)))
      for p in (flat, steep)
    ]
    assert traces[0] == pytest.approx(flattest.minimum_with_bias(x, y))
    # Each half is 2 sqrt(d + 1): times 2.25, and over 2.25.
    ratio = (2.25 + 1 / 2.25) / 2
    assert traces[1] == pytest.approx(ratio * traces[0])


def test_the_printed_radius_of_equation_5_is_no_minimum():
  with jax.enable_x64():
    x, _ = sample(30, 100)
    params = flattest.generalizing_bias(30, r=(30**2 + 1) ** 0.25)
    trace = flattest.trace_of_squared_error(
      network(params), params, jnp.asarray(x)
    )
    # 2 (r^2 + (d + 1) / r^2), which is least at r^2 = sqrt(d + 1).
    r2 = np.sqrt(901)
    assert float(trace) == pytest.approx(2 * (r2 + 31 / r2))
    assert float(trace) > 2.7 * 4 * np.sqrt(31)


def test_sim_bn_approaches_twice_the_printed_infimum():
  """8, where the four quarters are equally large; 4 sum sqrt(n_k / n) else."""
  with jax.enable_x64():
    rng = np.random.default_rng(1)
    for counts in ((5, 5, 5, 5), (2, 4, 6, 8)):
      x = 2.0 * rng.integers(0, 2, (20, D)) - 1
      x[:, :2] = np.repeat(flattest._QUARTERS_4x2, counts, axis=0)
      y = x[:, 0] * x[:, 1]
      limit = 4 * np.sum(np.sqrt(np.array(counts) / 20))
      gaps = []
      for size in (10.0, 100.0):
        params = flattest.generalizing_sim_bn(x, size)
        predict = network(params, "sim_bn", x)
        outputs = np.asarray(predict(params, cube(D)))[:, 0]
        np.testing.assert_allclose(outputs, cube(D)[:, :2].prod(1))
        trace = flattest.trace_of_squared_error(predict, params, jnp.asarray(x))
        gaps.append(float(trace) - limit)
      assert 0 < gaps[1] < 1e-2
      assert gaps[0] == pytest.approx(100 * gaps[1], rel=1e-6)
      dense = dense_trace(predict, params, x, y)
      assert dense == pytest.approx(float(trace), rel=1e-9)
    assert flattest.INFIMUM_SIM_BN == 8
    with pytest.raises(ValueError, match="no example"):
      flattest.generalizing_sim_bn(x[:2], 1.0)


def test_logistic_trace_has_the_curvature_not_its_inverse():
  with jax.enable_x64():
    x, y = sample(D, N)
    p = 0.2
    params = flattest.generalizing_bias(D)
    # Outputs y ln((1 - p) / p), where the smoothed loss of each is least.
    gamma = np.log((1 - p) / p)
    params["second"] = {"kernel": gamma * params["second"]["kernel"]}
    predict = network(params)

    def loss(outputs, signs):
      return losses.logistic(outputs, signs, p)

    exact = flattest.trace_of_logistic(predict, params, jnp.asarray(x), p)
    dense = dense_trace(predict, params, x, y, loss)
    assert dense == pytest.approx(float(exact), rel=1e-9)
    printed = float(exact) / (p * (1 - p)) ** 2
    assert printed == pytest.approx(39.0625 * dense)


@pytest.mark.parametrize("smoothing", [None, 0.2])
def test_gauss_newton_trace_of_an_objective(smoothing):
  """`Objective.ggn_trace` equals the formula, and a dense J^T H J."""
  with jax.enable_x64():
    x, y = sample(D, N)
    params = flattest.memorizing_bias(x, y)
    predict = network(params)

    def loss(outputs, batch):
      if smoothing is None:
        return losses.squared_error(outputs, batch["targets"])
      return losses.logistic(outputs, batch["targets"], smoothing)

    batch = {"inputs": jnp.asarray(x), "targets": jnp.asarray(y[:, None])}
    objective = objective_lib.Objective(
      lambda params, _, batch: predict(params, batch["inputs"]),
      loss,
      params,
      objective_lib.batched(batch, 12),
    )
    w = objective.weights
    got = float(objective.ggn_trace(w, chunk=7))
    columns = jax.vmap(lambda v: objective.ggn_vp(w, v))(jnp.eye(len(w)))
    assert got == pytest.approx(float(jnp.trace(columns)), rel=1e-9)
    if smoothing is None:
      want = flattest.trace_of_squared_error(predict, params, jnp.asarray(x))
      assert got == pytest.approx(float(want), rel=1e-9)


def test_reach():
  """A quarter where a neuron tells a quarter, 1/n where it tells an example."""
  inputs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
  generalizing = flattest.generalizing_bias(3)
  assert flattest.reach(generalizing, inputs) == pytest.approx(1 / 4)
  memorizing = flattest.memorizing_bias(inputs, inputs[:, 0])
  assert flattest.reach(memorizing, inputs) == pytest.approx(1 / 8)
