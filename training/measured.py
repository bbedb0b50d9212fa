"""What is measured of runs while they train: their sharpness."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from sharpness import measures
from training import objectives as objectives_lib
from training import trainer as trainer_lib


def sharpness(
  trainer: trainer_lib.Trainer,
  objectives: objectives_lib.Objectives,
  runs: Iterable[int],
  num_devices: int,
) -> dict[int, dict[str, float]]:
  """Returns `objectives.WHILE_TRAINING` of each of the runs.

  Args:
    trainer: of all runs.
    objectives: theirs.
    runs: their indices.
    num_devices: over which a batch of a run is spread.
  """
  setup = trainer.setup
  factor = float(setup.schedule(jnp.int32(trainer.step - 1)))
  measured = {}
  for run in runs:
    config, of_run = setup.runs[run], trainer.state(run)
    weights, mask = jax.device_get((of_run.weights, of_run.mask))
    objective = objectives.create(
      run, weights, mask, num_examples=config.sharpness_num_examples
    )
    point = objectives_lib.point(
      config,
      objective,
      learning_rate=config.learning_rate * factor,
      num_devices=num_devices,
    )
    found = measures.measure(point, objectives_lib.WHILE_TRAINING)
    measured[run] = {k: v for k, v in found.items() if isinstance(v, float)}
  return measured
