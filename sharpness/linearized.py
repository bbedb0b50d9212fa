"""Networks to first order in the weights, and how far from that they train.

Chizat et al. (2019); Shin et al. (UAI 2025), Appendix E, Figure 19.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax
from jax.extend import core as jex
import jax.numpy as jnp

from .objective import Batch
from .objective import Objective
from .objective import Predict

PyTree = Any
# (weights, batch) -> outputs, [B, ...].
Network = Callable[[PyTree, Batch], jax.Array]

# Equations of a traced function that only call another one, and where it is.
_CALLS = {
  "jit": "jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "remat2": "jaxpr",
}


def linearize(function: Network, w0: PyTree) -> Network:
  """Returns f(w0) + J (w - w0), J the Jacobian at `w0`.

  Args:
    function: f(w, batch).
    w0: tree of weights.

  Returns:
    A function of (w, batch), as `function` is.
  """

  def tangent_model(w: PyTree, batch: Batch) -> jax.Array:
    step = jax.tree.map(jnp.subtract, w, w0)
    outputs, change = jax.jvp(lambda w: function(w, batch), (w0,), (step,))
    return outputs + change

  return tangent_model


@dataclasses.dataclass(frozen=True)
class _TangentModel:
  """A `Predict`, whose state is that of the model and w0."""

  predict: Predict

  def __call__(self, params: PyTree, state: PyTree, batch: Batch) -> jax.Array:
    model_state, params0 = state
    return linearize(_network(self.predict, model_state), params0)(
      params, batch
    )


def linearized(objective: Objective, w0: jax.Array | None = None) -> Objective:
  """Returns the objective of the model linearized at `w0`.

  Its Hessian is its generalized Gauss-Newton matrix at every w; at `w0`, also
  that of `objective`.

  Args:
    objective: of the model.
    w0: weights, [d]; None: `objective.weights`.
  """
  params0 = objective.unflatten(objective.weights if w0 is None else w0)
  return objective.with_model(
    _TangentModel(objective.predict), (objective.model_state, params0)
  )


@dataclasses.dataclass(frozen=True)
class _Stability:
  """A `Predict` of the share of stable ReLUs; state as of `_TangentModel`."""

  predict: Predict

  def __call__(self, params: PyTree, state: PyTree, batch: Batch) -> jax.Array:
    model_state, params0 = state
    inputs_of = relu_inputs(_network(self.predict, model_state))
    before, after = inputs_of(params0, batch), inputs_of(params, batch)
    same_BxU = [
      ((x > 0) == (y > 0)).reshape(len(x), -1)
      for x, y in zip(before, after, strict=True)
    ]
    return jnp.mean(jnp.concatenate(same_BxU, 1), 1, jnp.float32)


def activation_stability(
  objective: Objective, w0: jax.Array, w: jax.Array
) -> float:
  """Returns the share of ReLUs that are as on or as off at `w` as at `w0`.

  The 'stability of activations' of Shin et al., Figure 19. Every unit of every
  `jax.nn.relu` counts once for every example, at every position of an image;
  with BatchNorm or a shortcut, a unit is what is rectified, after them. A unit
  is on where its input is positive.

  Args:
    objective: has the model and the data.
    w0: weights at initialization, [d].
    w: weights after training, [d].

  Raises:
    ValueError: see `relu_inputs`.
  """
  params0 = objective.unflatten(w0)
  shares = objective.with_model(
    _Stability(objective.predict), (objective.model_state, params0)
  )
  return float(jnp.mean(shares.outputs(w)))


def relu_inputs(
  function: Network,
) -> Callable[[PyTree, Batch], list[jax.Array]]:
  """Returns a function of what a network's ReLUs rectify.

  The function (w, batch) -> list of arrays [B, ...] has the input of every
  `jax.nn.relu` (which is Flax's) in the order of evaluation. One that does not
  depend on w is left out: in a model that is centred or linearized at w0, those
  of the network at w0.

  Raises (while tracing):
    ValueError: no ReLU depends on w, or one is in a loop or a condition.
  """

  def inputs_of(w: PyTree, batch: Batch) -> list[jax.Array]:
    traced = jax.make_jaxpr(function)(w, batch)
    values = [(x, True) for x in jax.tree.leaves(w)]
    values += [(x, False) for x in jax.tree.leaves(batch)]
    found: list[jax.Array] = []
    _evaluate(traced.jaxpr, traced.consts, values, found)
    if not found:
      raise ValueError("no ReLU of the model depends on its weights")
    return found

  return inputs_of


def _evaluate(
  jaxpr: jex.Jaxpr,
  consts: Sequence[Any],
  args: Sequence[tuple[Any, bool]],
  found: list[jax.Array],
) -> list[tuple[Any, bool]]:
  """Evaluates a traced function, and adds what its ReLUs rectify to `found`.

  Every value goes with whether it depends on the weights.
  """
  env = dict(zip(jaxpr.constvars, ((x, False) for x in consts), strict=True))
  env.update(zip(jaxpr.invars, args, strict=True))

  def read(atom):
    return (atom.val, False) if isinstance(atom, jex.Literal) else env[atom]

  for eqn in jaxpr.eqns:
    inputs = [read(atom) for atom in eqn.invars]
    depends = any(flag for _, flag in inputs)
    called = eqn.params.get(_CALLS.get(eqn.primitive.name, ""))
    if called is not None:
      if eqn.params.get("name") == "relu" and depends:
        found.append(inputs[-1][0])
      if isinstance(called, jex.ClosedJaxpr):
        called, inner = called.jaxpr, called.consts
      else:
        inner = ()
      outputs = _evaluate(called, inner, inputs, found)
    else:
      if any(map(_has_relu, jex.jaxprs_in_params(eqn.params))):
        raise ValueError(f"a ReLU in a {eqn.primitive.name} is not counted")
      result = eqn.primitive.bind(*(x for x, _ in inputs), **eqn.params)
      results = result if eqn.primitive.multiple_results else [result]
      outputs = [(x, depends) for x in results]
    env.update(zip(eqn.outvars, outputs, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _has_relu(jaxpr: jex.Jaxpr) -> bool:
  return any(
    eqn.params.get("name") == "relu"
    or any(map(_has_relu, jex.jaxprs_in_params(eqn.params)))
    for eqn in jaxpr.eqns
  )


def _network(predict: Predict, model_state: PyTree) -> Network:
  return lambda params, batch: predict(params, model_state, batch)
