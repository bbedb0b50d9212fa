"""The flattest interpolating networks that are known in closed form.

Wen, Li and Ma (2023), "Sharpness Minimization Algorithms Do Not Only Minimize
Sharpness To Achieve Better Generalization" (arXiv 2307.11007), Sections 4 and 5
and Appendix A. Sharpness is the trace of the Hessian of the mean squared error
over n training examples, without a factor 1/2, or of the logistic loss with
label smoothing. Weights are those of models/two_layer.py: 'first' has 'kernel'
[d, m] and 'bias' [m], 'second' 'kernel' [m, 1], and 'normalization' of Sim-BN
'scale' [m].

Three formulae are printed otherwise. Each is checked in
tests/theory/test_flattest.py:

  Lemma A.13 has 1 / (p (1 - p)) where the curvature of the logistic loss is
    p (1 - p);
  equation 5 needs r = (d + 1)^(1/4) where (d^2 + 1)^(1/4) is printed;
  Appendix A.3 leaves out the factor 2 of Lemma 4.1, so the infimum of Sim-BN's
    trace is 8 where it says 4.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
# (params, inputs [N, d]) -> outputs [N, 1].
Predict = Callable[[PyTree, jax.Array], jax.Array]

# Signs of x1 and x2 in the four quarters that tell all of x1 x2.
_QUARTERS_4x2 = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])


def _tree(
  kernel_Mxd: np.ndarray, bias_M: np.ndarray | None, readout_M: np.ndarray
) -> PyTree:
  """Returns the weights of a two-layer network from the rows of W1."""
  first = {"kernel": jnp.asarray(kernel_Mxd.T, float)}
  if bias_M is not None:
    first["bias"] = jnp.asarray(bias_M, float)
  second = {"kernel": jnp.asarray(readout_M[:, None], float)}
  return {"first": first, "second": second}


def _rows(num_inputs: int, size: float) -> np.ndarray:
  """Returns `size` times the signs of x1 and x2 in the quarters, [4, d]."""
  rows = np.zeros((4, num_inputs))
  rows[:, :2] = size * _QUARTERS_4x2
  return rows


# --- traces -------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def _gradient_norms(
  predict: Predict, params: PyTree, inputs: jax.Array
) -> jax.Array:
  """Returns ||grad f(x_i)||^2 over all weights, [N]."""

  def of_example(x):
    grads = jax.grad(lambda p: predict(p, x[None])[0, 0])(params)
    return sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads))

  return jax.vmap(of_example)(inputs)


def trace_of_squared_error(
  predict: Predict, params: PyTree, inputs: jax.Array
) -> jax.Array:
  """Returns (2/n) sum_i ||grad f(x_i)||^2 (Lemma 4.1).

  It is the trace of the Hessian of a network that interpolates.
  """
  return 2 * jnp.mean(_gradient_norms(predict, params, inputs))


def trace_of_logistic(
  predict: Predict, params: PyTree, inputs: jax.Array, smoothing: float
) -> jax.Array:
  """Returns p (1 - p) (1/n) sum_i ||grad f(x_i)||^2 (Lemma A.13).

  It is the trace of the Hessian where every output is the optimum of its
  smoothed label, y ln((1 - p) / p) with y = -1 or 1. There the derivative of
  the sigmoid is p (1 - p); the paper prints its inverse.

  Args:
    predict: the network f.
    params: its weights.
    inputs: x_i, [N, d].
    smoothing: p.
  """
  curvature = smoothing * (1 - smoothing)
  return curvature * jnp.mean(_gradient_norms(predict, params, inputs))


def minimum_without_bias(inputs: np.ndarray, targets: np.ndarray) -> float:
  """Returns (4/n) sum_i |y_i| ||x_i||, which bounds the trace from below.

  Of W2 relu(W1 x). On the cube it is 4 sqrt(d), and `generalizing_no_bias`
  attains it.
  """
  return float(4 * np.mean(np.abs(targets) * np.linalg.norm(inputs, axis=1)))


def minimum_with_bias(inputs: np.ndarray, targets: np.ndarray) -> float:
  """Returns (4/n) sum_i |y_i| sqrt(||x_i||^2 + 1) (equation 3).

  Of W2 relu(W1 x + b1), if every x_i is an extreme point of their hull. On the
  cube it is 4 sqrt(d + 1).
  """
  norms = np.sqrt(np.sum(np.square(inputs), 1) + 1)
  return float(4 * np.mean(np.abs(targets) * norms))


# The normalized hidden layer alone is a gradient of norm 1, that of W2.
MINIMUM_SIM_LN = 2.0
# 2 (||W2||^2 + ||gamma||^2), approached as W1 grows, where the four quarters
# have as many examples each.
INFIMUM_SIM_BN = 8.0


# --- networks -----------------------------------------------------------------


def generalizing_no_bias(num_inputs: int) -> PyTree:
  """Returns four neurons that are x1 x2, at the least trace, 4 sqrt(d).

  Rows r (+-1, +-1, 0, ...) and W2 = +-1 / (2 r) with 4 r^2 = sqrt(d). Two
  neurons are at their kink on every input; the derivative of ReLU there is 0.
  """
  r = num_inputs**0.25 / 2
  return _tree(_rows(num_inputs, r), None, _QUARTERS_4x2.prod(1) / (2 * r))


def generalizing_bias(num_inputs: int, r: float | None = None) -> PyTree:
  """Returns four neurons with biases that are x1 x2 (Proposition 4.2).

  Equation 5: rows r (+-1, +-1, 0, ...), b1 = -r and W2 = +-1 / r.

  Args:
    num_inputs: d.
    r: None: (d + 1)^(1/4), at which the trace is least, 4 sqrt(d + 1). The
      paper prints (d^2 + 1)^(1/4).
  """
  r = (num_inputs + 1) ** 0.25 if r is None else r
  rows = _rows(num_inputs, r)
  return _tree(rows, np.full(4, -r), _QUARTERS_4x2.prod(1) / r)


def memorizing_bias(inputs: np.ndarray, targets: np.ndarray) -> PyTree:
  """Returns a neuron for each example, off at all others (Theorem 4.1).

  Its trace is `minimum_with_bias`. On the cube the network is 0 at all points
  that are no example, so its 0-1 error is 1 - n / 2^d (Proposition 4.1).

  Args:
    inputs: different points on a sphere, so that x_i / ||x_i|| tells x_i from
      all others, [N, d].
    targets: y_i, none of them 0, [N].
  """
  r = np.sqrt(np.sum(np.square(inputs), 1) + 1)
  height = np.sqrt(r * np.abs(targets))
  readout = np.sign(targets) * np.sqrt(np.abs(targets) / r)
  return _one_neuron_each(inputs, height, readout)


def memorizing_sim_ln(inputs: np.ndarray, targets: np.ndarray) -> PyTree:
  """Returns `memorizing_bias` under Sim-LN (Theorem 5.1, Proposition 5.1).

  One neuron is on, and normalized to 1, so W2 = y_i. Only W2 has a gradient:
  the trace is 2.
  """
  return _one_neuron_each(inputs, np.ones(len(inputs)), targets)


def generalizing_sim_ln(num_inputs: int) -> PyTree:
  """Returns `generalizing_bias` under Sim-LN (Proposition 5.2); trace 2."""
  return generalizing_bias(num_inputs, r=1.0)


def generalizing_sim_bn(inputs: np.ndarray, size: float) -> PyTree:
  """Returns four neurons that are x1 x2 under Sim-BN.

  On the k-th quarter of the training set, n_k of n examples, neuron k is
  sqrt(n / n_k) after normalization, so gamma_k |W2_k| = sqrt(n_k / n), and
  equal factors are flattest. The trace tends to 4 sum_k sqrt(n_k / n), at most
  8, as 1 / size^2.

  Args:
    inputs: the training set, on the cube, [N, d].
    size: of the weights of W1.

  Raises:
    ValueError: a quarter has no example.
  """
  is_in_Nx4 = (inputs[:, None, :2] == _QUARTERS_4x2).all(-1)
  share = is_in_Nx4.mean(0)
  if not share.all():
    raise ValueError("a quarter of x1 and x2 has no example")
  rows = _rows(inputs.shape[1], size)
  factor = share**0.25
  tree = _tree(rows, np.full(4, -size), _QUARTERS_4x2.prod(1) * factor)
  return tree | {"normalization": {"scale": jnp.asarray(factor)}}


def _one_neuron_each(
  inputs: np.ndarray, height: np.ndarray, readout: np.ndarray
) -> PyTree:
  """Returns a network whose i-th neuron is `height` at x_i, 0 at the others.

  On the cube it is 0 at all other points, examples or not.
  """
  units = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
  along = units @ inputs.T  # Of each neuron, at each example.
  own = np.diag(along).copy()
  np.fill_diagonal(along, -np.inf)
  # Half-way to the nearest other example, or to the nearest point of the cube,
  # which is nearer by 2 / ||x_i|| than x_i itself.
  norms = np.linalg.norm(inputs, axis=1)
  margin = np.minimum((own - along.max(1)) / 2, 1 / norms)
  scale = height / margin
  return _tree(scale[:, None] * units, scale * (margin - own), readout)


def reach(params: PyTree, inputs_Nxd: np.ndarray) -> float:
  """Returns on how many training examples a ReLU is on, as a share.

  Neurons count by what they add to the outputs in absolute value. The share is
  1/4 in a network of the four quarters of x1 x2, and 1/n in a memorizing one.
  """
  first = {name: np.asarray(w) for name, w in params["first"].items()}
  readout = np.asarray(params["second"]["kernel"])[:, 0]
  before_NxM = inputs_Nxd @ first["kernel"] + first.get("bias", 0)
  hidden_NxM = np.maximum(before_NxM, 0)
  size_M = hidden_NxM.mean(0) * np.abs(readout)
  return float((hidden_NxM > 0).mean(0) @ size_M / size_M.sum())
