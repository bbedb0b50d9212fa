"""Schedules: step -> factor on the peak learning rate, or on rho."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import optax

Schedule = Callable[[jax.Array], jax.Array]

# Where the learning rate falls to a tenth, as fractions of training. The paper
# trains MNIST with 'step'; its published code uses 'step_mnist'. 'step_half' is
# that of its Appendix I.
STEP_FRACTIONS = {
  "step": (0.5, 0.75),
  "step_mnist": (0.25, 0.5, 0.75),
  "step_half": (0.5,),
}


def num_train_steps(
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> int:
  """Returns the length of training in steps."""
  if config.num_train_steps > 0:
    return config.num_train_steps
  return config.num_epochs * steps_per_epoch


def create(config: ml_collections.ConfigDict, steps_per_epoch: int) -> Schedule:
  """Returns the factor on the learning rate at each step.

  It is that of the schedule that `config.lr_scheduler` names, in [0, 1], times
  that of the stage.

  Args:
    config: reads lr_scheduler, warmup_steps, num_epochs, num_train_steps,
      stage_starts and stage_lr_factors.
    steps_per_epoch: training steps in an epoch.

  Returns:
    A function of the (0-based) step.
  """
  factor = _named(config, steps_per_epoch)
  if not config.stage_starts:
    return factor
  staged = _staged(config, config.stage_lr_factors, steps_per_epoch)
  return lambda step: factor(step) * staged(step)


def create_rho(
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> Schedule:
  """Returns the factor on rho at each step, which is that of the stage."""
  return _staged(config, config.stage_rho_factors, steps_per_epoch)


def _staged(
  config: ml_collections.ConfigDict,
  factors: Sequence[float],
  steps_per_epoch: int,
) -> Schedule:
  """Returns 1 in the first stage and one of the factors in each other."""
  total = num_train_steps(config, steps_per_epoch)
  starts = [round(fraction * total) for fraction in config.stage_starts]
  constants = [optax.constant_schedule(x) for x in (1.0, *factors)]
  return optax.join_schedules(constants, starts)


def _named(config: ml_collections.ConfigDict, steps_per_epoch: int) -> Schedule:
  """Returns the schedule that `config.lr_scheduler` names."""
  total = num_train_steps(config, steps_per_epoch)
  warmup = config.warmup_steps
  name = config.lr_scheduler
  if name == "constant":
    return optax.constant_schedule(1.0)
  if name in STEP_FRACTIONS:
    return optax.piecewise_constant_schedule(
      1.0, {round(f * total): 0.1 for f in STEP_FRACTIONS[name]}
    )
  if name == "linear":
    return optax.linear_schedule(1.0, 0.0, total)
  if name == "cosine":
    cosine = optax.cosine_decay_schedule(1.0, max(1, total - warmup))
    if not warmup:
      return cosine
    return optax.join_schedules(
      [optax.linear_schedule(0.0, 1.0, warmup), cosine], [warmup]
    )
  if name == "inverse_sqrt":
    return lambda step: (
      jnp.minimum(1.0, step / warmup) / jnp.sqrt(jnp.maximum(step, warmup))
    )
  raise ValueError(f"unknown lr_scheduler {name!r}")
