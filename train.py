"""The one training loop: `train_and_evaluate(config, workdir, writer)`.

What a step is, and where runs are trained, is in `training/`; what they leave
is in `run_folder/`. This file says when things happen.
"""

from collections.abc import Callable, Iterable, Sequence
import contextlib
import math
import os
import sys
import time
from typing import Any

import jax
import ml_collections

from configs import base
from configs import kinds
from configs import sweep
import data
from data import fingerprint
from data import task
from run_folder import checkpoints
from run_folder import elsewhere
from run_folder import files
from run_folder import log as log_lib
from run_folder import naming
from run_folder import progress
from run_folder import scoring
from run_folder import snapshots
from run_folder import trained_on
from run_folder.files import Record
from training import cadence as cadence_lib
from training import hosts as hosts_lib
from training import measured
from training import objectives as objectives_lib
from training import placement
from training import run_axis
from training import setup as setup_lib
from training import state
from training import trainer as trainer_lib

PyTree = Any
Hook = Callable[[int], Any]
Folder = files.RunFolder | elsewhere.Folder
Saved = checkpoints.Checkpoints | elsewhere.Checkpoints


class Stopped(Exception):
  """Training left off, after it saved, because it was asked to."""


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  writer: log_lib.RunsWriter | None = None,
  *,
  data_dir: str | None = None,
  datasets: Sequence[data.Dataset] | None = None,
  make_hooks: Callable[[int], Sequence[Hook]] = lambda num_steps: (),
  should_stop: Callable[[], bool] = lambda: False,
  should_save: Callable[[], bool] = lambda: False,
  hosts: hosts_lib.Hosts = hosts_lib.ALONE,
) -> Record:
  """Trains, or resumes, or finds that the run, or the sweep, is over.

  Args:
    config: every field of configs/fields/.
    workdir: folder of the run.
    writer: receives the metrics (`clu.metric_writers`).
    data_dir: see `data.load`.
    datasets: that of each run, as of `data.load_runs`; None: what the config
      names.
    make_hooks: number of steps -> functions that are called with the number
      of steps taken after every call to the device.
    should_stop: is asked before every call to the device.
    should_save: is asked then, too; a checkpoint is saved in passing.
    hosts: the processes that train together; the first has the folder, and the
      others need not see it.

  Returns:
    The record in result.json. Its 'status' is 'finished' or 'diverged'; that
    of a sweep, whose runs have their own, is 'diverged' if all diverged.

  Raises:
    ConfigError, DataError: before anything is written (DataError also while
      data is streamed).
    RunError: the folder belongs to another run, or to other data, is in use,
      or there is no space left.
    CheckpointError: `config.init_from` does not fit.
    Stopped: `should_stop` said so; the same call resumes.
  """
  base.check(config)
  devices = hosts.devices()
  num_devices = placement.devices_per_run(config, len(devices))
  hosts.check_same("config", files.to_json(config))
  result = hosts.from_first(
    lambda: files.read_result(workdir, config, num_devices)
  )
  before = hosts.from_first(lambda: files.read_facts(workdir))
  is_given = datasets is not None
  is_quick = is_given or config.dataset in kinds.FILE_DATASETS
  if result and not is_quick and not before.get(trained_on.GIVEN):
    return result  # What the config names takes time to load.
  if datasets is None:
    datasets = data.load_runs(sweep.runs(config), data_dir)
  found = fingerprint.of(datasets)
  trained_on.check(workdir, before, found)
  of_first = hosts.from_first(lambda: found)
  trained_on.check(workdir, {trained_on.DATA: of_first}, found)
  if result:
    return result
  setup = setup_lib.create(config, datasets)
  placement.check(config, len(devices))
  cadence = cadence_lib.create(setup)
  weights = _initial_weights(setup, workdir, hosts)

  with contextlib.ExitStack() as stack:
    places = _places(setup, hosts)
    facts = trained_on.facts(
      found,
      is_given=is_given,
      num_at_once=places[0].num_vmapped,
      task=task.to_json(task.of(setup.dataset)),
    )
    folder: Folder = elsewhere.Folder()
    saved: Saved = elsewhere.Checkpoints()
    if hosts.is_first:
      folder = files.RunFolder(workdir, config, num_devices, facts)
      stack.callback(folder.close)
      saved = checkpoints.Checkpoints(folder.path)
      stack.callback(saved.close)
    log = log_lib.RunLog(
      folder,
      config,
      writer,
      steps_per_epoch=setup.steps_per_epoch,
      num_steps=setup.num_steps,
    )
    trainer = trainer_lib.Trainer(setup, devices, weights, hosts)
    objectives = objectives_lib.Objectives(setup)
    hooks = make_hooks(setup.num_steps)
    start = time.monotonic()

    like = trainer.abstract_items()
    restored = hosts.items_from_first(
      lambda: saved.restore_newest(like, lambda step: len(folder.lines(step))),
      like,
    )
    if restored is not None:
      trainer.restore(*restored)
    log.resume(trainer.step)
    trainer.given_up.update(log.diverged)
    if folder.path:
      snapshots.keep_up_to(folder.path, trainer.step)
    _introduce(setup, trainer, log)
    if trainer.step:
      trained_on.warn_of_other_calls(before, facts)
    if trainer.step == 0 and config.snapshot_every_epochs:
      _snapshot(trainer, folder)

    show = progress.Progress if hosts.is_first else elsewhere.Progress
    bar = show(trainer.step, setup.num_steps, setup.steps_per_epoch)
    stack.callback(bar.close)
    while trainer.step < setup.num_steps and log.going():
      if should_stop():
        raise Stopped(_stop(trainer, saved, log))
      if should_save() and _is_finite(trainer, log):
        _save(trainer, saved, log, score=None)
      if trainer.call(cadence.next_stop(trainer.step) - trainer.step):
        # The time it took to compile is no part of the speed.
        log.start_clock(trainer.step)
      step = trainer.step
      for hook in hooks:
        hook(step)
      bar.step(step)

      due = cadence.due(step)
      if not due:
        continue
      lines = _train_lines(trainer, log)
      if "log" in due:
        log.newest = lines
        trainer.reset_metrics()
      else:
        lines = {run: {} for run in lines}
      evaluated: log_lib.Lines = {}
      if "evaluate" in due and lines:
        evaluated = _evaluate(trainer, log, lines)
        shown = [log.newest.get(r, {}) | v for r, v in evaluated.items()]
        bar.evaluated(step, shown, len(log.diverged))
        lines = {run: lines[run] | values for run, values in evaluated.items()}
      if "measure" in due:
        with _unclocked(log):
          of_runs = measured.sharpness(trainer, objectives, lines, num_devices)
          lines = {run: lines[run] | v for run, v in of_runs.items()}
      # Nothing is written or saved of what is not finite.
      if not lines:
        continue
      if {"log", "evaluate", "measure"} & due:
        log.write(step, lines, evaluated)
      if "snapshot" in due:
        _snapshot(trainer, folder)
      if "save" in due:
        _save(trainer, saved, log, log.score(evaluated))
    bar.close()

    # The result comes after the last checkpoint is on disk.
    saved.wait()
    about = {
      "num_steps": trainer.step,
      "wall_time_seconds": time.monotonic() - start,
      "device": devices[0].device_kind,
      "num_devices": num_devices,  # Of each run.
    }
    counts = trainer.count_parameters()
    return hosts.from_first(lambda: log.finish(counts, about))


def _places(
  setup: setup_lib.Setup, hosts: hosts_lib.Hosts = hosts_lib.ALONE
) -> list[placement.Placement]:
  return placement.create(
    setup.config,
    hosts.devices(),
    streamed=setup.is_streamed,
    convolutional=setup.is_convolutional,
    hosts=hosts,
  )


def _initial_weights(
  setup: setup_lib.Setup, workdir: str, hosts: hosts_lib.Hosts
) -> dict[str, PyTree] | None:
  """Returns what `config.init_from` names for a run that is new."""
  if not setup.config.init_from or hosts.from_first(
    lambda: checkpoints.has_whole(workdir)
  ):
    return None
  place = _places(setup, hosts)[0]
  like = {"weights": state.abstract_weights(setup, place.replicated)}
  folder = os.path.expanduser(setup.config.init_from)
  try:
    restored = hosts.items_from_first(
      lambda: checkpoints.restore(folder, "latest", like), like
    )
  except checkpoints.CheckpointError as e:
    raise checkpoints.CheckpointError(f"config.init_from={e}") from e
  assert restored is not None
  return restored[1]["weights"]


def _introduce(
  setup: setup_lib.Setup, trainer: trainer_lib.Trainer, log: log_lib.RunLog
) -> None:
  """Says what is trained, and from where."""
  dataset, counts = setup.dataset, trainer.count_parameters()
  sizes = [f"{n} {s.num_examples:,}" for n, s in dataset.splits.items()]
  print(f"{dataset.name}: {', '.join(sizes)} examples")
  if dataset.best_accuracy is not None:
    print(f"best possible test accuracy: {dataset.best_accuracy:.2%}")
  unpruned = sorted({c["num_unpruned_parameters"] for c in counts})
  print(
    f"{setup.config.model}: {counts[0]['num_parameters']:,} parameters,"
    f" {' or '.join(f'{n:,}' for n in unpruned)} not pruned;"
    f" {trainer.num_devices} x {jax.local_devices()[0].device_kind}"
  )
  if log.is_sweep:
    print(f"{len(log.names)} runs, {trainer.describe()}")
    if log.has_too_many_runs:
      limit = log_lib.MAX_SWEEP_WRITERS
      print(f"more than {limit} runs: no TensorBoard events")
  if trainer.step:
    print(f"resumed at step {trainer.step}")
  else:
    # Of a sweep it is not shown, and would have to be cut out.
    params = None if log.is_sweep else trainer.state(0).params
    log.begin(counts, params)
  sys.stdout.flush()


def _stop(
  trainer: trainer_lib.Trainer, saved: Saved, log: log_lib.RunLog
) -> str:
  """Saves, unless nothing is finite; returns what is said of it."""
  if not _is_finite(trainer, log):
    return f"stopped at step {trainer.step}, not saved: not finite"
  _save(trainer, saved, log, score=None)
  saved.wait()
  return f"stopped and saved at step {trainer.step}"


def _is_finite(trainer: trainer_lib.Trainer, log: log_lib.RunLog) -> bool:
  """Whether what a run trained since its last line is finite, of some run."""
  computed = trainer.train_metrics()
  return not all(computed[run][1] for run in log.going())


def _save(
  trainer: trainer_lib.Trainer,
  saved: Saved,
  log: log_lib.RunLog,
  score: float | None,
) -> None:
  log.sync()
  saved.wait()
  saved.save(trainer.step, trainer.items(), score, log.num_lines)


def _snapshot(trainer: trainer_lib.Trainer, folder: Folder) -> None:
  if folder.path:
    snapshots.save(folder.path, trainer.step, trainer.weights())


def _give_up(
  trainer: trainer_lib.Trainer,
  log: log_lib.RunLog,
  run: int,
  where: log_lib.Diverged,
) -> None:
  log.diverge(run, where, trainer.step)
  trainer.given_up.add(run)


def _train_lines(
  trainer: trainer_lib.Trainer, log: log_lib.RunLog
) -> log_lib.Lines:
  """Returns the training metrics of the runs that go on."""
  lines = {}
  computed = trainer.train_metrics()
  for run in log.going():
    values, nonfinite = computed[run]
    if nonfinite:
      _give_up(trainer, log, run, nonfinite)
    else:
      lines[run] = {_train_name(k): v for k, v in values.items()}
  return lines


def _train_name(metric: str) -> str:
  """The metrics that evaluations have too are told apart by their split."""
  return f"train_{metric}" if metric in scoring.SCORES else metric


def _evaluate(
  trainer: trainer_lib.Trainer, log: log_lib.RunLog, runs: Iterable[int]
) -> log_lib.Lines:
  """Returns the evaluations of those of the runs that go on."""
  evaluated: log_lib.Lines = {}
  values = trainer.evaluate()
  for run in runs:
    nonfinite = [k for k, v in values[run].items() if not math.isfinite(v)]
    if nonfinite:
      _give_up(trainer, log, run, (nonfinite[0], trainer.step))
    else:
      evaluated[run] = dict(values[run])
  return evaluated


@contextlib.contextmanager
def _unclocked(log: log_lib.RunLog):
  start = time.monotonic()
  yield
  log.pause_clock(time.monotonic() - start)


def evaluate(
  workdir: str,
  which: str = "latest",
  data_dir: str | None = None,
  *,
  datasets: Sequence[data.Dataset] | None = None,
) -> list[Record]:
  """Returns the metrics of every run in a checkpoint of a run folder.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' (not of a sweep) or a step.
    data_dir: see `data.load`.
    datasets: as in `train_and_evaluate`.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint, or it was
      trained on other data.
    DataError: the data is missing.
  """
  config = files.load_config(workdir)
  if datasets is None:
    datasets = data.load_runs(sweep.runs(config), data_dir)
  facts = files.read_facts(workdir)
  trained_on.check(workdir, facts, fingerprint.of(datasets))
  setup = setup_lib.create(config, datasets)
  places = _places(setup)
  one_run = {"weights": state.abstract_weights(setup, places[0].replicated)}
  like = run_axis.abstract(one_run, len(setup.runs))
  step, items = checkpoints.restore(workdir, which, like)
  evaluated = trainer_lib.evaluate(setup, places, items["weights"])
  return [
    ({"run": name} if name else {}) | {"step": step} | values
    for name, values in zip(naming.run_names(config), evaluated, strict=True)
  ]
