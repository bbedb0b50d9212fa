"""Schedules: step -> factor on the peak learning rate, or on rho."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
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


def create(name: str, num_steps: int, *, warmup_steps: int = 0) -> Schedule:
  """Returns the factor on the learning rate at each step.

  Args:
    name: 'constant': 1; 'step', 'step_mnist', 'step_half': falls to a tenth at
      each of their `STEP_FRACTIONS`; 'linear', 'cosine': falls from 1 to 0;
      'inverse_sqrt': min(t, warmup) / warmup / sqrt(max(t, warmup)).
    num_steps: the length of training.
    warmup_steps: of them, over which 'cosine' (it may be 0) and 'inverse_sqrt'
      (it may not) rise from 0; the others do not read it.

  Returns:
    A function of the (0-based) step.

  Raises:
    ValueError: there is no such schedule, or it lacks its warm-up.
  """
  if name == "constant":
    return optax.constant_schedule(1.0)
  if name in STEP_FRACTIONS:
    return optax.piecewise_constant_schedule(
      1.0, {round(f * num_steps): 0.1 for f in STEP_FRACTIONS[name]}
    )
  if name == "linear":
    return optax.linear_schedule(1.0, 0.0, num_steps)
  if name == "cosine":
    cosine = optax.cosine_decay_schedule(1.0, max(1, num_steps - warmup_steps))
    if not warmup_steps:
      return cosine
    return optax.join_schedules(
      [optax.linear_schedule(0.0, 1.0, warmup_steps), cosine], [warmup_steps]
    )
  if name == "inverse_sqrt" and warmup_steps:
    return lambda step: (
      jnp.minimum(1.0, step / warmup_steps)
      / jnp.sqrt(jnp.maximum(step, warmup_steps))
    )
  raise ValueError(f"schedule {name!r} is unknown, or lacks its warmup_steps")


def staged(
  starts: Sequence[float], factors: Sequence[float], num_steps: int
) -> Schedule:
  """Returns 1 in the first stage of training, and a factor in each other.

  Args:
    starts: of the stages after the first, as fractions of training, ascending.
    factors: of these stages.
    num_steps: the length of training.
  """
  constants = [optax.constant_schedule(x) for x in (1.0, *factors)]
  return optax.join_schedules(
    constants, [round(fraction * num_steps) for fraction in starts]
  )
