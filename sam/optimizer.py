"""Base optimizers: what turns a (SAM) gradient into an update."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from . import gradient
from .schedule import Schedule

Hyperparameter = jax.Array | float


def _by_extra_arg(update) -> optax.GradientTransformationExtraArgs:
  """A stateless transformation that reads hyper-parameters from the call."""

  def update_fn(updates, state, params=None, **extra_args):
    return update(updates, params, **extra_args), state

  return optax.GradientTransformationExtraArgs(
    lambda params: optax.EmptyState(), update_fn
  )


def _add_decayed_weights() -> optax.GradientTransformationExtraArgs:
  def update(updates, params, *, weight_decay: Hyperparameter, **_):
    return jax.tree.map(lambda g, w: g + weight_decay * w, updates, params)

  return _by_extra_arg(update)


def _descend() -> optax.GradientTransformationExtraArgs:
  def update(updates, params, *, learning_rate: Hyperparameter, **_):
    del params
    return jax.tree.map(lambda u: -learning_rate * u, updates)

  return _by_extra_arg(update)


def _keep_norm(
  layer: str, norm: float
) -> optax.GradientTransformationExtraArgs:
  """Ends a step with a layer scaled to a joint norm of all its parameters."""

  def update(updates, params, **_):
    moved = jax.tree.map(jnp.add, params[layer], updates[layer])
    scale = norm / gradient.global_norm(moved)
    step = jax.tree.map(lambda m, w: scale * m - w, moved, params[layer])
    return {**updates, layer: step}

  return _by_extra_arg(update)


def _clip(max_norm: float) -> optax.GradientTransformation:
  return optax.clip_by_global_norm(max_norm) if max_norm else optax.identity()


def create(
  name: str,
  schedule: Schedule,
  *,
  momentum: float = 0.9,
  nesterov: bool = False,
  adam_b1: float = 0.9,
  adam_b2: float = 0.999,
  adam_eps: float = 1e-8,
  gradient_clip: float = 0.0,
  decay_after_learning_rate: bool = False,
  fixed_norms: Mapping[str, float] | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Returns a base optimizer.

  In this order: the gradient is clipped; SGD and Adam add coupled weight decay
  on all parameters; momentum or Adam's moments; AdamW adds its decoupled
  decay; then the schedule and the learning rate; last, layers are scaled to
  their fixed norms, if they have one.

  Args:
    name: 'sgd', 'adam' or 'adamw'.
    schedule: the factor on the learning rate at each step.
    momentum: of SGD, heavy-ball; 0 keeps nothing in memory.
    nesterov: whether it is Nesterov's instead: with v = momentum v + g, a step
      is g + momentum v, not v (as in PyTorch).
    adam_b1: decay of Adam's mean.
    adam_b2: decay of Adam's square.
    adam_eps: added to Adam's denominator.
    gradient_clip: largest global norm of the gradient; 0: any.
    decay_after_learning_rate: whether SGD adds weight_decay * w to the update
      instead, after the learning rate, so that weights grow, as Flax's example
      of SST-2 does.
    fixed_norms: name of a layer, at the top of the parameters -> joint norm of
      all its parameters after each step.

  Returns:
    A transformation whose `update(grads, state, params, learning_rate=...,
    weight_decay=...)` takes these two as arrays, so that a sweep can map over
    them. Its updates are added to the parameters.

  Raises:
    ValueError: there is no such optimizer.
  """
  last = []
  if name == "sgd":
    trace = [optax.trace(momentum, nesterov)] if momentum else []
    parts = [_add_decayed_weights(), *trace]
    if decay_after_learning_rate:
      parts, last = trace, [_add_decayed_weights()]
  elif name in ("adam", "adamw"):
    adam = optax.scale_by_adam(adam_b1, adam_b2, adam_eps)
    decay = _add_decayed_weights()
    parts = [decay, adam] if name == "adam" else [adam, decay]
  else:
    raise ValueError(f"optimizer {name!r}: must be sgd, adam or adamw")
  last += [_keep_norm(*layer) for layer in (fixed_norms or {}).items()]
  return optax.chain(
    _clip(gradient_clip),
    *parts,
    optax.scale_by_schedule(schedule),
    _descend(),
    *last,
  )
