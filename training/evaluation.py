"""Evaluation: every example of a split exactly once."""

from collections.abc import Callable, Iterator, Sequence
import functools
import itertools
from typing import Any

import jax
import numpy as np

from configs import kinds
from data import bucketing
from data import pipeline
from data.dataset import ArraySplit
from run_folder.files import Record
from training import games
from training import losses
from training import metrics as metrics_lib
from training.experiment import AXIS
from training.experiment import Experiment

PyTree = Any
# (tree, experiment) -> the tree on the devices of the experiment.
Place = Callable[[PyTree, Experiment], PyTree]


def place(tree: PyTree, exp: Experiment) -> PyTree:
  """Puts a tree on all devices of an experiment."""
  return jax.device_put(tree, exp.replicated)


class Evaluator:
  """Evaluates the splits that are not trained on."""

  def __init__(self, parts: Sequence[Experiment], place_split: Place = place):
    """Puts the splits where the parts of an experiment are evaluated."""
    self._parts = parts
    first = parts[0]
    self._names = [name for name in first.dataset.splits if name != "train"]
    self._resident = [
      {name: place_split(part.resident(name), part) for name in self._names}
      for part in parts
    ]
    self._split_metrics = losses.split_metrics(first.config)
    self._eval_steps: dict[Any, Callable[..., Any]] = {}
    self._sizes = {name: _sizes(parts, name) for name in self._names}

  def __call__(self, weights: Sequence[PyTree]) -> list[Record]:
    """Returns '<split>_<metric>' of every run, every example once.

    With `config.steps_per_eval`, '<split>_num_examples' says how many of them
    a partial evaluation saw: the smallest, where batches are trimmed. It has
    no metrics that need the whole split.

    Args:
      weights: those of each part.
    """
    records: list[Record] = []
    for name in self._names:
      evaluated = self._evaluate(name, weights)
      records = records or [{} for _ in evaluated]
      for record, values in zip(records, evaluated, strict=True):
        record |= {f"{name}_{metric}": v for metric, v in values.items()}
    return records

  def _evaluate(self, name: str, weights: Sequence[PyTree]) -> list[Record]:
    # The examples of the runs differ, but not their number.
    exp, num_examples = self._parts[0], self._num_examples(name)
    size = min(exp.config.eval_batch_size, num_examples)
    size = -(-size // exp.num_devices) * exp.num_devices
    totals = [
      place(metrics_lib.empty(part.eval_metrics, part.run_axis_size), part)
      for part in self._parts
    ]
    outputs: list[list[np.ndarray]] = [[] for _ in self._parts]
    count = 0
    split = exp.dataset.splits[name]
    batches = pipeline.eval_batches(
      split, size, exp.num_devices, self._sizes[name]
    )
    limit = exp.config.steps_per_eval
    for batch, batch_count, trimmed in itertools.islice(
      batches, None if limit < 0 else limit
    ):
      for i, part in enumerate(self._parts):
        totals[i], of_batch = self._eval_step(part, trimmed)(
          weights[i], totals[i], batch, self._resident[i][name]
        )
        if self._split_metrics:
          outputs[i].append(np.asarray(of_batch))
        if part.serialize_calls:
          jax.block_until_ready(totals[i])
      count += batch_count
    seen = [int(n) for t in totals for n in np.ravel(t.loss.count)]
    expected = num_examples if limit < 0 else count
    assert {*seen, count} == {expected}, (
      f"{name}: evaluated {seen} of {expected} examples"
    )
    values = [run for total in totals for run in metrics_lib.by_run(total)]
    if self._split_metrics and count == num_examples:
      wholes = self._whole_split(name, outputs)
      for run, (outputs_of_run, targets) in zip(values, wholes, strict=True):
        for metric, function in self._split_metrics.items():
          run[metric] = function(outputs_of_run, targets)
    partial = {"num_examples": count} if count != num_examples else {}
    return [{k: float(v) for k, v in run.items()} | partial for run in values]

  def _whole_split(
    self, name: str, outputs: list[list[np.ndarray]]
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the outputs and targets of each run, [N, ...].

    Args:
      name: of a split of arrays.
      outputs: of each part and batch, [D, B / D, ...] or [D, R, B / D, ...].
    """
    order = bucketing.by_size(self._sizes[name])
    for part, of_part in zip(self._parts, outputs, strict=True):
      for r, dataset in enumerate(part.datasets):
        of_run = [x[:, r] if part.is_stacked else x for x in of_part]
        rows = [x.reshape(-1, *x.shape[2:]) for x in of_run]
        split = dataset.splits[name]
        assert isinstance(split, ArraySplit), "these metrics need arrays"
        # The last batch is padded.
        yield np.concatenate(rows)[: split.num_examples], split.targets[order]

  def _eval_step(
    self, part: Experiment, size: bucketing.Size
  ) -> Callable[..., Any]:
    key = part.devices, size
    if key not in self._eval_steps:
      self._eval_steps[key] = _compile(part, size)
    return self._eval_steps[key]

  def _num_examples(self, name: str) -> int:
    return self._parts[0].dataset.splits[name].num_examples


def create(
  parts: Sequence[Experiment], place_split: Place = place
) -> Evaluator | games.Evaluator:
  """Returns what evaluates the parts of an experiment."""
  if parts[0].config.dataset in kinds.GAMES:
    return games.Evaluator(parts)
  return Evaluator(parts, place_split)


def _sizes(parts: Sequence[Experiment], name: str) -> np.ndarray:
  """Returns what the examples of all runs at a place fit into, [N, K]."""
  splits = (d.splits[name] for part in parts for d in part.datasets)
  distinct = {id(split): split for split in splits}
  return np.max([parts[0].sizes(s) for s in distinct.values()], axis=0)


def _compile(exp: Experiment, size: bucketing.Size) -> Callable[..., Any]:
  step = functools.partial(_eval_step, exp=exp, size=size)
  if exp.is_stacked:
    step = jax.vmap(step, (0, 0, None, pipeline.RUN_AXES))
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, None, 0, None),
    out_axes=(None, 0),
    devices=exp.devices,
  )


def _eval_step(
  weights: PyTree,
  metrics: Any,
  batch: PyTree,
  resident: PyTree,
  *,
  exp: Experiment,
  size: bucketing.Size,
) -> tuple[Any, jax.Array | None]:
  """Returns the metrics, and the outputs for this batch if they are needed."""
  mask_B = batch["mask"]
  batch = pipeline.batch_from(resident, batch)
  batch = batch | {"inputs": exp.dataset.normalize(batch["inputs"])}
  batch = exp.dataset.trim(batch, size)
  _, aux = exp.eval_loss_fn(
    weights["params"], weights["model_state"], batch, jax.random.key(0)
  )
  update = metrics_lib.of_batch(
    exp.eval_metrics, exp.sync_axis, mask=mask_B, **aux["per_example"]
  )
  outputs = aux["outputs"] if losses.split_metrics(exp.config) else None
  return metrics_lib.merge(metrics, update), outputs
