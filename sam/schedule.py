"""Learning-rate schedules: step -> factor on the peak learning rate."""

from collections.abc import Callable

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
  """Returns the schedule that `config.lr_scheduler` names.

  Args:
    config: reads lr_scheduler, warmup_steps, num_epochs, num_train_steps.
    steps_per_epoch: training steps in an epoch.

  Returns:
    A function of the (0-based) step, with values in [0, 1].
  """
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
