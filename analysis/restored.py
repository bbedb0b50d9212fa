"""Runs as what `sharpness/` measures: weights of a folder, objectives of a run.

An objective is what training minimizes, but for weight decay and augmentation:
the mean loss over a split, labels as noisy and as smoothed as in training, with
BatchNorm in inference mode unless batch statistics are asked for. It is
computed in float32 for bfloat16 runs, whose second derivatives are too rough.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import base
import data
from data import dataset as dataset_lib
import models
from run_folder import checkpoints
from run_folder import records
from run_folder import snapshots
from sharpness import objective as objective_lib
from training import experiment
from training import losses
from training import rollouts
from training import state as state_lib
from training import trainer
from training.experiment import Experiment

PyTree = Any


@dataclasses.dataclass(frozen=True)
class _Predict:
  """A model on raw inputs; equal ones share what is compiled."""

  model: models.Model
  normalize: dataset_lib.Normalize
  train: bool

  def __call__(
    self, params: PyTree, model_state: PyTree, batch: objective_lib.Batch
  ) -> jax.Array:
    outputs, _ = self.model.apply(
      {"params": params, **model_state},
      self.normalize(batch["inputs"]),
      train=self.train,
      mutable=list(losses.CHANGING),
    )
    return outputs


class Objectives:
  """Makes the objectives of the runs of an experiment."""

  def __init__(self, exp: Experiment):
    self._exp = exp
    config = exp.config.copy_and_resolve_references()
    config.sync_batch_norm = False  # There is one device.
    config.dropout = 0.0  # A function of the weights alone.
    if config.dtype == "bfloat16":
      config.dtype = "float32"
    model = models.create(config, exp.dataset)
    self._predict = {
      train: _Predict(model, exp.dataset.normalize, train)
      for train in (False, True)
    }
    self._loss = {train: _loss(exp, train) for train in (False, True)}
    self._batches: dict[tuple[Any, ...], list[objective_lib.Batch]] = {}

  def create(
    self,
    index: int,
    weights: PyTree,
    mask: PyTree | None = None,
    *,
    split: str = "train",
    num_examples: int = 0,
    batch_statistics: bool = False,
  ) -> objective_lib.Objective:
    """Returns the objective of a run.

    The examples are in a random order, the same for every run.

    Args:
      index: of the run in the experiment.
      weights: its 'params' and 'model_state'.
      mask: False where a weight is pruned; directions stay where it is True.
      split: 'train', 'validation' or 'test'.
      num_examples: of them (of a streamed split, the first ones); 0: all.
      batch_statistics: whether BatchNorm normalizes by the batch, as in
        training on one device (batches of config.batch_size, the rest is
        dropped), instead of by its running averages.

    Raises:
      UserError: the data set has no such split; or it is streamed, and
        `num_examples` is 0.
    """
    return objective_lib.Objective(
      self._predict[batch_statistics],
      self._loss[split == "train"],
      weights["params"],
      self._cut(index, split, num_examples, batch_statistics),
      model_state=weights["model_state"],
      mask=mask,
      independent_examples=not batch_statistics,
    )

  def _cut(
    self, index: int, split: str, num_examples: int, batch_statistics: bool
  ) -> list[objective_lib.Batch]:
    """Returns the batches of a split; those of equal splits are shared."""
    dataset = self._exp.datasets[index]
    if split not in dataset.splits:
      raise base.UserError(
        f"split={split!r}: must be one of {', '.join(dataset.splits)}"
      )
    # The splits live as long as the experiment.
    key = id(dataset.splits[split]), num_examples, batch_statistics
    if key not in self._batches:
      examples = _examples(dataset, split, num_examples)
      size = len(examples["targets"])
      config = self._exp.config
      most = min(config.eval_batch_size, size)
      if batch_statistics:
        most = min(config.batch_size, size)
        examples = {k: x[: size // most * most] for k, x in examples.items()}
      on_device = {k: jnp.asarray(x) for k, x in examples.items()}
      self._batches[key] = objective_lib.cut(on_device, most)
    return self._batches[key]


def _loss(exp: Experiment, train: bool) -> objective_lib.OutputLoss:
  values_of = losses.per_example(exp.config, exp.dataset, train=train)
  return lambda outputs, batch: values_of(outputs, batch["targets"])["loss"]


def _examples(
  dataset: dataset_lib.Dataset, name: str, num_examples: int
) -> dict[str, np.ndarray]:
  """Returns raw 'inputs' and 'targets' of a split, or of some of it."""
  split = dataset.splits[name]
  size = min(num_examples or split.num_examples, split.num_examples)
  if isinstance(split, dataset_lib.ArraySplit):
    rows = np.random.default_rng(0).permutation(split.num_examples)[:size]
    return {"inputs": split.inputs[rows], "targets": split.targets[rows]}
  if not num_examples:
    raise base.UserError(
      f"num_examples=0: must be >= 1 for {dataset.name}, which is streamed"
    )
  batch = next(iter(split.eval_batches(size)))
  return {k: np.asarray(batch[k]) for k in ("inputs", "targets")}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
  """A run of a folder at a checkpoint.

  Attributes:
    name: in its sweep; '' if it is alone.
    index: in its sweep.
    config: its own values.
    folder: of the run, or its sweep.
    step: of the checkpoint.
    weights: 'params' and 'model_state', on the host.
    mask: False where a weight is pruned; None prunes nothing.
    experiment: of all runs of the folder.
    objectives: makes its objectives, and those of its neighbours.
  """

  name: str
  index: int
  config: ml_collections.ConfigDict
  folder: pathlib.Path
  step: int
  weights: PyTree
  mask: PyTree | None
  experiment: Experiment
  objectives: Objectives

  def objective(
    self,
    *,
    split: str = "train",
    num_examples: int = 0,
    batch_statistics: bool = False,
  ) -> objective_lib.Objective:
    """Returns what it minimizes; see `Objectives.create`."""
    return self.objectives.create(
      self.index,
      self.weights,
      self.mask,
      split=split,
      num_examples=num_examples,
      batch_statistics=batch_statistics,
    )

  @property
  def learning_rate(self) -> float:
    """That of the step that led here, or of the first."""
    factor = self.experiment.schedule(jnp.int32(max(self.step - 1, 0)))
    return self.config.learning_rate * float(factor)

  def lines(self) -> list[records.Record]:
    """Returns its lines of metrics.jsonl."""
    lines = records.read_lines(self.folder)
    return [line for line in lines if line.get("run", "") == self.name]

  def is_finite(self) -> bool:
    return all(np.isfinite(x).all() for x in jax.tree.leaves(self.weights))

  def snapshot(self, step: int) -> "Run":
    """Returns the run as it was after so many steps.

    Raises:
      RunError: there is no snapshot of that step.
    """
    if step not in snapshots.steps(self.folder):
      raise records.RunError(
        f"{self.folder}: has no snapshot of step {step}; train in a folder of"
        " its own with config.snapshot_every_epochs"
      )
    weights = snapshots.load(self.folder, step)
    if self.experiment.is_stacked:
      # Copied, so that the others are freed.
      weights = jax.tree.map(lambda x: x[self.index].copy(), weights)
    return dataclasses.replace(self, step=step, weights=weights)

  def snapshots(self) -> list["Run"]:
    """Returns the run at each of its snapshots, in order."""
    return [self.snapshot(step) for step in snapshots.steps(self.folder)]


def load(
  workdir: str | pathlib.Path,
  which: str = "latest",
  data_dir: str | None = None,
) -> list[Run]:
  """Returns every run of a folder at a checkpoint.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' (not of a sweep) or a step.
    data_dir: see `data.load`.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint.
    DataError: the data is missing.
  """
  config = records.load_config(str(workdir))
  datasets = data.load_runs(base.runs(config), data_dir)
  exp = experiment.create(config, datasets, jax.local_devices()[:1])
  one_run = {"weights": state_lib.abstract_weights(exp)}
  if exp.prunes:
    one_run["mask"] = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, bool, sharding=x.sharding),
      one_run["weights"]["params"],
    )
  like = trainer.abstract_checkpoint(exp, one_run)
  step, items = checkpoints.restore(workdir, which, like)
  host = jax.device_get(items)
  names = records.run_names(config)
  owns = [
    jax.tree.map(lambda x, i=i: x[i], host) if exp.is_stacked else host
    for i in range(len(names))
  ]
  if config.dataset in base.GAMES:
    exp = rollouts.with_rollouts(exp, [own["weights"] for own in owns])
  objectives = Objectives(exp)
  runs = []
  for i, (name, own) in enumerate(zip(names, owns, strict=True)):
    runs.append(
      Run(
        name=name,
        index=i,
        config=exp.runs[i],
        folder=pathlib.Path(workdir),
        step=step,
        weights=own["weights"],
        mask=own.get("mask"),
        experiment=exp,
        objectives=objectives,
      )
    )
  return runs
