"""Evaluation: every example of a split exactly once."""

from collections.abc import Callable, Iterator, Sequence
import functools
import itertools
from typing import Any

import jax
import numpy as np

from data import bucketing
from data import pipeline
from data.dataset import ArraySplit
from training import losses
from training import metrics as metrics_lib
from training import run_axis
from training.placement import AXIS
from training.placement import Placement
from training.setup import Setup

PyTree = Any
Values = dict[str, float]


class Evaluator:
  """Evaluates the splits that are not trained on."""

  def __init__(
    self,
    setup: Setup,
    placements: Sequence[Placement],
    residents: run_axis.Residents,
  ):
    """Puts the splits where the runs are."""
    self._setup = setup
    self._placements = placements
    self._datasets = [
      [setup.datasets[r] for r in placement.runs] for placement in placements
    ]
    self._names = [name for name in setup.dataset.splits if name != "train"]
    self._resident = [
      {name: residents.place(datasets, name, place) for name in self._names}
      for datasets, place in zip(self._datasets, placements, strict=True)
    ]
    self._split_metrics = losses.split_metrics(setup.config)
    self._eval_steps: dict[Any, Callable[..., Any]] = {}
    self._sizes = {name: self._sizes_of_all(name) for name in self._names}

  def _sizes_of_all(self, name: str) -> np.ndarray:
    """Returns what the examples of all runs at a place fit into, [N, K]."""
    distinct = {d.examples: d for d in self._setup.datasets}.values()
    return np.max([self._setup.sizes(d, name) for d in distinct], axis=0)

  def __call__(self, weights: Sequence[PyTree]) -> list[Values]:
    """Returns '<split>_<metric>' of every run, every example once.

    With `config.steps_per_eval`, '<split>_num_examples' says how many of them
    a partial evaluation saw: the smallest, where batches are trimmed. It has
    no metrics that need the whole split.

    Args:
      weights: those of each placement.
    """
    records: list[Values] = [{} for _ in self._setup.runs]
    for name in self._names:
      evaluated = self._evaluate(name, weights)
      for record, values in zip(records, evaluated, strict=True):
        record |= {f"{name}_{metric}": v for metric, v in values.items()}
    return records

  def _evaluate(self, name: str, weights: Sequence[PyTree]) -> list[Values]:
    # The examples of the runs differ, but not their number.
    setup = self._setup
    split = setup.dataset.splits[name]
    num_examples = split.num_examples
    num_devices = self._placements[0].num_devices
    hosts = self._placements[0].hosts
    size = min(setup.config.eval_batch_size, num_examples)
    size = -(-size // num_devices) * num_devices
    totals = [
      run_axis.place(
        [metrics_lib.empty(setup.eval_metrics)] * place.num_runs, place
      )
      for place in self._placements
    ]
    outputs: list[list[np.ndarray]] = [[] for _ in self._placements]
    count = 0
    batches = pipeline.eval_batches(
      split, size, num_devices, self._sizes[name], hosts.part
    )
    limit = setup.config.steps_per_eval
    for batch, batch_count, trimmed in itertools.islice(
      batches, None if limit < 0 else limit
    ):
      for i, place in enumerate(self._placements):
        totals[i], of_batch = self._eval_step(place, trimmed)(
          weights[i],
          totals[i],
          run_axis.eval_batch(batch, place),
          self._resident[i][name],
        )
        if self._split_metrics:
          of_mine = run_axis.fetch_outputs(of_batch, place)
          outputs[i].append(hosts.gather(of_mine))
        if place.serialize_calls:
          jax.block_until_ready(totals[i])
      count += batch_count
    seen = [int(n) for t in totals for n in np.ravel(t.loss.count)]
    expected = num_examples if limit < 0 else count
    assert {*seen, count} == {expected}, (
      f"{name}: evaluated {seen} of {expected} examples"
    )
    values = [
      run
      for total, place in zip(totals, self._placements, strict=True)
      for run in metrics_lib.by_run(
        run_axis.fetch(total, place), place.num_runs
      )
    ]
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
      outputs: of each placement and batch, [D, B / D, ...] of a run alone.
    """
    order = bucketing.by_size(self._sizes[name])
    for datasets, batches in zip(self._datasets, outputs, strict=True):
      of_runs = run_axis.unstack(batches, len(datasets), axis=1)
      for dataset, of_run in zip(datasets, of_runs, strict=True):
        rows = [x.reshape(-1, *x.shape[2:]) for x in of_run]
        split = dataset.splits[name]
        assert isinstance(split, ArraySplit), "these metrics need arrays"
        # The last batch is padded.
        yield np.concatenate(rows)[: split.num_examples], split.targets[order]

  def _eval_step(
    self, place: Placement, size: bucketing.Size
  ) -> Callable[..., Any]:
    key = place.devices, place.num_vmapped, size
    if key not in self._eval_steps:
      self._eval_steps[key] = _compile(self._setup, place, size)
    return self._eval_steps[key]


def _compile(
  setup: Setup, place: Placement, size: bucketing.Size
) -> Callable[..., Any]:
  step = functools.partial(
    _eval_step, setup=setup, size=size, sync_axis=place.sync_axis
  )
  of_runs, resident = run_axis.device_axes(place)
  step_runs = run_axis.vmap(
    step, place.num_vmapped, (0, 0, None, run_axis.RESIDENT)
  )
  return jax.pmap(
    step_runs,
    axis_name=AXIS,
    in_axes=(of_runs, of_runs, None if place.rows else 0, resident),
    out_axes=(of_runs, 0),
    devices=place.devices,
  )


def _eval_step(
  weights: PyTree,
  metrics: Any,
  batch: PyTree,
  resident: PyTree,
  *,
  setup: Setup,
  size: bucketing.Size,
  sync_axis: str | None,
) -> tuple[Any, jax.Array | None]:
  """Returns the metrics, and the outputs for this batch if they are needed."""
  mask_B = batch["mask"]
  batch = pipeline.batch_from(resident, batch)
  batch = batch | {"inputs": setup.dataset.normalize(batch["inputs"])}
  batch = setup.dataset.trim(batch, size)
  _, aux = setup.eval_loss_fn(
    weights["params"], weights["model_state"], batch, jax.random.key(0)
  )
  update = metrics_lib.of_batch(
    setup.eval_metrics, sync_axis, mask=mask_B, **aux["per_example"]
  )
  outputs = aux["outputs"] if losses.split_metrics(setup.config) else None
  return metrics_lib.merge(metrics, update), outputs
