"""Runs as they are read back from a folder, to be measured."""

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import sweep
import data
from data import fingerprint
from run_folder import checkpoints
from run_folder import files
from run_folder import naming
from run_folder import snapshots
from run_folder import trained_on
from sharpness import objective as objective_lib
from training import objectives as objectives_lib
from training import placement
from training import run_axis
from training import setup as setup_lib
from training import sources
from training import state as state_lib

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
    setup: of all runs of the folder.
    objectives: makes its objectives, and those of its neighbours.
  """

  name: str
  index: int
  config: ml_collections.ConfigDict
  folder: pathlib.Path
  step: int
  weights: PyTree
  mask: PyTree | None
  setup: setup_lib.Setup
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
    factor = self.setup.schedule(jnp.int32(max(self.step - 1, 0)))
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
    whole = snapshots.load(self.folder, step)
    num_runs = len(self.setup.runs)
    of_runs = run_axis.shape(num_runs)
    shapes = jax.tree.map(lambda x: (*of_runs, *x.shape), self.weights)
    if jax.tree.map(np.shape, whole) != shapes:
      raise files.RunError(
        f"{self.folder}: the snapshot of step {step} does not fit this model"
      )
    weights = run_axis.take(whole, self.index, num_runs)
    # Copied, so that the others are freed.
    weights = jax.tree.map(np.copy, weights)
    return dataclasses.replace(self, step=step, weights=weights)

  def snapshots(self) -> list["Run"]:
    """Returns the run at each of its snapshots, in order."""
    return [self.snapshot(step) for step in snapshots.steps(self.folder)]


def load(
  workdir: str | pathlib.Path,
  which: str = "latest",
  data_dir: str | None = None,
  *,
  datasets: Sequence[data.Dataset] | None = None,
) -> list[Run]:
  """Returns every run of a folder at a checkpoint.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' (not of a sweep) or a step.
    data_dir: see `data.load`.
    datasets: that of each run, if the folder was not trained on what its
      config names.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint, or it was
      trained on other data.
    DataError: the data is missing.
  """
  config = files.load_config(str(workdir))
  if datasets is None:
    datasets = data.load_runs(sweep.runs(config), data_dir)
  facts = files.read_facts(workdir)
  trained_on.check(workdir, facts, fingerprint.of(datasets))
  setup = setup_lib.create(config, datasets)
  place = placement.Placement((0,), tuple(jax.local_devices()[:1]))
  one_run = {"weights": state_lib.abstract_weights(setup, place.replicated)}
  if setup.prunes:
    one_run["mask"] = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, bool, sharding=x.sharding),
      one_run["weights"]["params"],
    )
  like = run_axis.abstract(one_run, len(setup.runs))
  step, items = checkpoints.restore(workdir, which, like)
  of_runs = run_axis.unstack(jax.device_get(items), len(setup.runs))
  made = sources.create(setup)
  renewed = [
    made[i].refresh(own["weights"], 0, jax.random.key(0)) if i in made else old
    for i, (own, old) in enumerate(zip(of_runs, datasets, strict=True))
  ]
  setup = dataclasses.replace(setup, datasets=tuple(renewed))
  objectives = objectives_lib.Objectives(setup)
  names = naming.run_names(config)
  return [
    Run(
      name=name,
      index=i,
      config=setup.runs[i],
      folder=pathlib.Path(workdir),
      step=step,
      weights=own["weights"],
      mask=own.get("mask"),
      setup=setup,
      objectives=objectives,
    )
    for i, (name, own) in enumerate(zip(names, of_runs, strict=True))
  ]
