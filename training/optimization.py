"""The base optimizer and the schedules that a config asks for."""

import ml_collections
import optax

from configs import reading
from sam import optimizer
from sam import schedule


def num_train_steps(
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> int:
  """Returns the length of training in steps."""
  if config.num_train_steps > 0:
    return config.num_train_steps
  return config.num_epochs * steps_per_epoch


def create_optimizer(
  config: ml_collections.ConfigDict, factor: schedule.Schedule
) -> optax.GradientTransformationExtraArgs:
  """Returns the base optimizer; see `sam.optimizer.create`.

  Args:
    config: which optimizer.
    factor: on the learning rate, as of `create_schedule`.
  """
  layers = {}
  if config.first_layer_norm:
    layers["first"] = config.first_layer_norm
  return optimizer.create(
    reading.base_optimizer(config),
    factor,
    momentum=config.momentum,
    nesterov=config.nesterov,
    adam_b1=config.adam_b1,
    adam_b2=config.adam_b2,
    adam_eps=config.adam_eps,
    gradient_clip=config.gradient_clip,
    decay_after_learning_rate=config.weight_decay_form == "sst2_example",
    fixed_norms=layers,
  )


def create_schedule(
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> schedule.Schedule:
  """Returns the factor on the learning rate: `lr_scheduler`'s, by stage."""
  total = num_train_steps(config, steps_per_epoch)
  factor = schedule.create(
    config.lr_scheduler, total, warmup_steps=config.warmup_steps
  )
  if not config.stage_starts:
    return factor
  staged = schedule.staged(config.stage_starts, config.stage_lr_factors, total)
  return lambda step: factor(step) * staged(step)


def create_rho_schedule(
  config: ml_collections.ConfigDict, steps_per_epoch: int
) -> schedule.Schedule:
  """Returns the factor on rho, which is that of the stage."""
  total = num_train_steps(config, steps_per_epoch)
  return schedule.staged(config.stage_starts, config.stage_rho_factors, total)
