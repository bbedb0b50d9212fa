"""Base optimizers: what turns a (SAM) gradient into an update."""

import jax
import jax.numpy as jnp
import ml_collections
import optax

from . import gradient
from . import schedule

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
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> optax.GradientTransformationExtraArgs:
  """Returns the base optimizer.

  In this order: the gradient is clipped; SGD and Adam add coupled weight decay
  on all parameters; momentum or Adam's moments; AdamW adds its decoupled
  decay; then the schedule and the learning rate; last, the first layer is
  scaled to `first_layer_norm`, if there is one. With `weight_decay_form` of
  'sst2_example', SGD adds weight_decay * w to the update instead, after the
  learning rate.

  Args:
    config: reads the fields of the section "optimization" in configs/fields/.
    steps_per_epoch: training steps in an epoch.

  Returns:
    A transformation whose `update(grads, state, params, learning_rate=...,
    weight_decay=...)` takes these two as arrays, so that a sweep can map over
    them. Its updates are added to the parameters.
  """
  name = config.optimizer
  if name == "sam":
    name = config.base_optimizer
  last = []
  if name == "sgd":
    # Without momentum, nothing is kept in memory.
    trace = [optax.trace(config.momentum)] if config.momentum else []
    parts = [_add_decayed_weights(), *trace]
    if config.weight_decay_form == "sst2_example":
      parts, last = trace, [_add_decayed_weights()]
  elif name in ("adam", "adamw"):
    adam = optax.scale_by_adam(config.adam_b1, config.adam_b2, config.adam_eps)
    decay = _add_decayed_weights()
    parts = [decay, adam] if name == "adam" else [adam, decay]
  else:
    raise ValueError(f"unknown optimizer {name!r}")
  if config.first_layer_norm:
    last.append(_keep_norm("first", config.first_layer_norm))
  factor = schedule.create(config, steps_per_epoch)
  return optax.chain(
    _clip(config.gradient_clip),
    *parts,
    optax.scale_by_schedule(factor),
    _descend(),
    *last,
  )
