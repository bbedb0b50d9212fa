"""Runs as they are read back from a folder, to be measured."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import kinds
from configs import sweep
import data
from run_folder import checkpoints
from run_folder import files
from run_folder import naming
from run_folder import snapshots
from sharpness import objective as objective_lib
from training import experiment
from training import objectives as objectives_lib
from training import rollouts
from training import state as state_lib
from training import trainer
from training.experiment import Experiment

PyTree = Any


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
  objectives: objectives_lib.Objectives

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

  def lines(self) -> list[files.Record]:
    """Returns its lines of metrics.jsonl."""
    lines = files.read_lines(self.folder)
    return [line for line in lines if line.get("run", "") == self.name]

  def is_finite(self) -> bool:
    return all(np.isfinite(x).all() for x in jax.tree.leaves(self.weights))

  def snapshot(self, step: int) -> "Run":
    """Returns the run as it was after so many steps.

    Raises:
      RunError: there is no snapshot of that step.
    """
    if step not in snapshots.steps(self.folder):
      raise files.RunError(
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
  config = files.load_config(str(workdir))
  datasets = data.load_runs(sweep.runs(config), data_dir)
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
  names = naming.run_names(config)
  owns = [
    jax.tree.map(lambda x, i=i: x[i], host) if exp.is_stacked else host
    for i in range(len(names))
  ]
  if config.dataset in kinds.GAMES:
    exp = rollouts.with_rollouts(exp, [own["weights"] for own in owns])
  objectives = objectives_lib.Objectives(exp)
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
