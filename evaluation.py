"""Evaluation: every example of a split exactly once."""

import functools
import itertools
from typing import Any

import jax

from data import dataset
from data import pipeline
from experiment import AXIS
from experiment import Experiment
import metrics as metrics_lib
from records import Record

PyTree = Any


class Evaluator:
  """Evaluates the splits that are not trained on."""

  def __init__(self, exp: Experiment):
    self._exp = exp
    self._splits = {
      name: split
      for name, split in exp.dataset.splits.items()
      if name != "train"
    }
    self._resident = {
      name: jax.device_put(pipeline.resident_arrays(split), exp.replicated)
      for name, split in self._splits.items()
    }
    self._eval_step = jax.pmap(
      functools.partial(_eval_step, exp=exp),
      axis_name=AXIS,
      in_axes=(None, None, 0, None),
      out_axes=None,
      devices=exp.devices,
    )

  def __call__(self, weights: PyTree) -> Record:
    """Returns '<split>_<metric>' for every split, every example once.

    With `config.steps_per_eval`, '<split>_num_examples' says how many of them
    a partial evaluation saw.
    """
    record: Record = {}
    for name, split in self._splits.items():
      values, count = self._evaluate(name, split, weights)
      record |= {f"{name}_{metric}": value for metric, value in values.items()}
      if count != split.num_examples:
        record[f"{name}_num_examples"] = count
    return record

  def _evaluate(
    self, name: str, split: dataset.Split, weights: PyTree
  ) -> tuple[dict[str, float], int]:
    exp = self._exp
    size = min(exp.config.eval_batch_size, split.num_examples)
    size = -(-size // exp.num_devices) * exp.num_devices
    metrics = jax.device_put(
      metrics_lib.empty(exp.eval_metrics), exp.replicated
    )
    count = 0
    batches = pipeline.eval_batches(split, size, exp.num_devices)
    limit = exp.config.steps_per_eval
    for batch, num_examples in itertools.islice(
      batches, None if limit < 0 else limit
    ):
      metrics = self._eval_step(weights, metrics, batch, self._resident[name])
      count += num_examples
      if exp.serialize_calls:
        jax.block_until_ready(metrics)
    seen = int(metrics.loss.count)
    expected = split.num_examples if limit < 0 else count
    assert seen == count == expected, (
      f"{name}: evaluated {seen} of {expected} examples"
    )
    return {k: float(v) for k, v in metrics.compute().items()}, count


def _eval_step(
  weights: PyTree, metrics: Any, batch: PyTree, resident: PyTree, *, exp
) -> Any:
  mask_B = batch["mask"]
  batch = pipeline.batch_from(resident, batch)
  batch = batch | {"inputs": exp.dataset.normalize(batch["inputs"])}
  _, aux = exp.eval_loss_fn(
    weights["params"], weights["model_state"], batch, jax.random.key(0)
  )
  update = exp.eval_metrics.gather_from_model_output(
    axis_name=AXIS, mask=mask_B, **aux["per_example"]
  )
  return metrics_lib.merge(metrics, update)
