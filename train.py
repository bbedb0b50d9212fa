"""The one training loop: `train_and_evaluate(config, workdir, writer)`."""

from collections.abc import Callable, Iterable, Sequence
import contextlib
import math
import sys
import time
from typing import Any, Protocol

from clu import parameter_overview
import jax
import jax.numpy as jnp
import ml_collections

from configs import base
from configs import kinds
from configs import sweep
import data
from run_folder import checkpoints
from run_folder import files
from run_folder import naming
from run_folder import progress
from run_folder import scoring
from run_folder import snapshots
from sharpness import measures
from training import evaluation
from training import experiment
from training import objectives
from training import rollouts
from training import trainer as trainer_lib
from training.experiment import Experiment
from training.state import abstract_weights
from training.step import compile_chunk as compile_chunk
from training.step import train_step as train_step

PyTree = Any
Diverged = tuple[str, int]

# What is not even done at the end of training without a period.
_ONLY_IF_ASKED = ("snapshot", "measure")
# Numbers in TensorBoard of a run of a sweep: clu takes 0.24 ms to write one.
MAX_SWEEP_NUMBERS = 20
# Each run has an open file; systems often allow a process 1,024.
MAX_SWEEP_WRITERS = 800


class Writer(Protocol):
  """The part of `clu.metric_writers.MetricWriter` that training needs."""

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None: ...

  def write_texts(self, step: int, texts: dict[str, str]) -> None: ...

  def write_hparams(self, hparams: dict[str, Any]) -> None: ...


class RunsWriter(Writer, Protocol):
  """A writer that has another one for each run of a sweep."""

  def for_run(self, name: str) -> Writer: ...


Hook = Callable[[int], Any]


class Stopped(Exception):
  """Training left off, after it saved, because it was asked to."""


class _Loop:
  """The run of a folder, or its sweep, on the way through training."""

  def __init__(
    self,
    exp: Experiment,
    folder: files.RunFolder,
    writer: RunsWriter | None,
    weights: dict[str, PyTree] | None,
  ):
    self.exp = exp
    self.folder = folder
    self.writer = writer
    self.checkpoints = checkpoints.Checkpoints(folder.path)
    self.is_sweep = bool(sweep.swept(exp.config))
    self.names = naming.run_names(exp.config)
    self.writers: list[Writer] = []
    if writer is not None and len(self.names) <= MAX_SWEEP_WRITERS:
      self.writers = (
        [writer.for_run(n) for n in self.names] if self.is_sweep else [writer]
      )
    self.trainer = _create_trainer(exp, weights)
    self.objectives = objectives.Objectives(exp)
    # By the index of the run: what was not finite, and at which step.
    self.diverged: dict[int, Diverged] = {}
    self.newest_train_metrics: dict[int, files.Record] = {}
    self.log_step, self.log_time = 0, time.monotonic()

  @property
  def step(self) -> int:
    return self.trainer.step

  def resume(self) -> None:
    """Goes on from the newest checkpoint, if there is one."""
    restored = self.checkpoints.restore_newest(self.trainer.abstract_items())
    if restored is not None:
      self.trainer.restore(*restored)
      self.log_step = self.step
    self.folder.keep_lines_up_to(self.step)
    snapshots.keep_up_to(self.folder.path, self.step)
    for line in self.folder.lines():
      if "diverged" in line:
        where = line["diverged"]
        run = self.names.index(line["run"])
        self._give_up(run, (where["metric"], where["step"]))

  def train(
    self, hooks: Sequence[Hook], should_stop: Callable[[], bool]
  ) -> files.Record:
    """Takes the steps that are left and returns the result."""
    exp = self.exp
    start = time.monotonic()
    self.resume()
    self._introduce()
    if self.step == 0 and exp.config.snapshot_every_epochs:
      self._keep_snapshot()
    bar = progress.Progress(self.step, exp.num_steps, exp.steps_per_epoch)
    try:
      while self.step < exp.num_steps and self._going():
        if should_stop():
          self._stop()
        if self.trainer.call(self._next_stop() - self.step):
          # What compiled is not counted as training.
          self.log_step, self.log_time = self.step, time.monotonic()
        for hook in hooks:
          hook(self.step)
        bar.step(self.step)
        self._log_evaluate_save(bar)
    finally:
      bar.close()
    return self._finish(time.monotonic() - start)

  def _going(self) -> list[int]:
    """Returns the runs that have not diverged."""
    return [r for r in range(len(self.names)) if r not in self.diverged]

  def _introduce(self) -> None:
    """Says what is trained, and from where."""
    exp, counts = self.exp, self.trainer.count_parameters()
    sizes = [f"{n} {s.num_examples:,}" for n, s in exp.dataset.splits.items()]
    print(f"{exp.dataset.name}: {', '.join(sizes)} examples")
    if exp.dataset.best_accuracy is not None:
      print(f"best possible test accuracy: {exp.dataset.best_accuracy:.2%}")
    unpruned = sorted({c["num_unpruned_parameters"] for c in counts})
    print(
      f"{exp.config.model}: {counts[0]['num_parameters']:,} parameters,"
      f" {' or '.join(f'{n:,}' for n in unpruned)} not pruned;"
      f" {self.trainer.num_devices} x {exp.devices[0].device_kind}"
    )
    if self.is_sweep:
      print(f"{len(self.names)} runs, {self.trainer.describe()}")
      if self.writer is not None and not self.writers:
        print(f"more than {MAX_SWEEP_WRITERS} runs: no TensorBoard events")
    if self.step:
      print(f"resumed at step {self.step}")
    else:
      self._write_beginning(counts)
    sys.stdout.flush()

  def _write_beginning(self, counts: list[dict[str, int]]) -> None:
    """Writes to TensorBoard what is known of the runs before they train."""
    for writer, run in zip(self.writers, self.exp.runs, strict=False):
      hparams = files.identity(run)
      writer.write_hparams({k: _plain(v) for k, v in hparams.items()})
    if self.writer is not None and not self.is_sweep:
      params = self.trainer.state(0).params
      overview = parameter_overview.get_parameter_overview(params)
      self.writer.write_texts(0, {"parameters": f"```\n{overview}\n```"})
      sparsity = {"sparsity": self.exp.config.sparsity}
      self.writer.write_scalars(0, counts[0] | sparsity)

  def _stop(self) -> None:
    computed = self.trainer.train_metrics()
    if all(computed[run][1] for run in self._going()):
      raise Stopped(f"stopped at step {self.step}, not saved: not finite")
    self._save(score=None)
    self.checkpoints.wait()
    raise Stopped(f"stopped and saved at step {self.step}")

  def _next_stop(self) -> int:
    """Returns the next step after which there is something to do."""
    exp, step = self.exp, self.step
    stops = [exp.num_steps]
    stops += [s for s in (exp.sam_steps.start, exp.sam_steps.stop) if s > step]
    stops += [(step // n + 1) * n for n in self._periods().values() if n]
    return min(stops)

  def _periods(self) -> dict[str, int]:
    """Returns the steps between two actions of a kind; 0: never."""
    c = self.exp.config
    return {
      "log": c.log_every_steps,
      "evaluate": c.eval_every_epochs * self.exp.steps_per_epoch,
      "save": c.checkpoint_every_steps,
      "snapshot": c.snapshot_every_epochs * self.exp.steps_per_epoch,
      "measure": c.sharpness_every_epochs * self.exp.steps_per_epoch,
    }

  def _is_due(self, action: str) -> bool:
    period = self._periods()[action]
    if not period and action in _ONLY_IF_ASKED:
      return False
    at_end = self.step == self.exp.num_steps
    return at_end or (period > 0 and self.step % period == 0)

  def _log_evaluate_save(self, bar: progress.Progress) -> None:
    """Does what is due after a step."""
    due = {action for action in self._periods() if self._is_due(action)}
    if not due:
      return
    lines = self._train_lines()
    if "log" in due:
      self.newest_train_metrics = lines
      self.trainer.reset_metrics()
    else:
      lines = {run: {} for run in lines}
    evaluated: dict[int, files.Record] = {}
    if "evaluate" in due and lines:
      evaluated = self._evaluate(lines)
      shown = [
        self.newest_train_metrics.get(run, {}) | values
        for run, values in evaluated.items()
      ]
      bar.evaluated(self.step, shown, len(self.diverged))
      lines = {run: lines[run] | values for run, values in evaluated.items()}
    if "measure" in due:
      lines = self._measure(lines)
    # Nothing is written or saved of what is not finite.
    if not lines:
      return
    if {"log", "evaluate", "measure"} & due:
      self._write(lines, evaluated)
    if "snapshot" in due:
      self._keep_snapshot()
    at_evals = self.exp.config.checkpoint_at_evals
    if "save" in due or ("evaluate" in due and at_evals):
      self._save(self._score(evaluated))

  def _train_lines(self) -> dict[int, files.Record]:
    """Returns the training metrics of the runs that go on."""
    lines = {}
    computed = self.trainer.train_metrics()
    for run in self._going():
      values, nonfinite = computed[run]
      if nonfinite:
        self._diverge(run, nonfinite)
      else:
        lines[run] = {_train_name(k): v for k, v in values.items()}
    return lines

  def _evaluate(self, runs: Iterable[int]) -> dict[int, files.Record]:
    """Returns the evaluations of those of the runs that go on."""
    evaluated = {}
    values = self.trainer.evaluate()
    for run in runs:
      nonfinite = [k for k, v in values[run].items() if not math.isfinite(v)]
      if nonfinite:
        self._diverge(run, (nonfinite[0], self.step))
      else:
        evaluated[run] = values[run]
    return evaluated

  def _measure(self, lines: dict[int, files.Record]) -> dict[int, files.Record]:
    """Returns the lines of the runs with their sharpness."""
    start = time.monotonic()
    exp = self.exp
    rate = float(exp.schedule(jnp.int32(self.step - 1)))
    measured = {}
    for run, line in lines.items():
      config, state = exp.runs[run], self.trainer.state(run)
      weights, mask = jax.device_get((state.weights, state.mask))
      point = objectives.point(
        config,
        self.objectives.create(
          run, weights, mask, num_examples=config.sharpness_num_examples
        ),
        learning_rate=config.learning_rate * rate,
        num_devices=experiment.devices_per_run(exp.config, exp.num_devices),
      )
      found = files.finite(measures.measure(point, objectives.WHILE_TRAINING))
      numbers = {k: v for k, v in found.items() if isinstance(v, float)}
      measured[run] = line | numbers
    self.log_time += time.monotonic() - start
    return measured

  def _keep_snapshot(self) -> None:
    snapshots.save(self.folder.path, self.step, self.trainer.weights())

  def _diverge(self, run: int, where: Diverged) -> None:
    """Notes that a run is over, while its neighbours go on."""
    self._give_up(run, where)
    if self.is_sweep:
      metric, step = where
      what = {"diverged": {"metric": metric, "step": step}}
      self.folder.append(self._place(run) | what)

  def _give_up(self, run: int, where: Diverged) -> None:
    self.diverged[run] = where
    self.trainer.given_up.add(run)

  def _place(self, run: int) -> files.Record:
    """Returns which run and step a line is about."""
    epoch = self.step / self.exp.steps_per_epoch
    at = {"step": self.step, "epoch": epoch}
    return {"run": self.names[run]} | at if self.is_sweep else at

  def _write(
    self,
    lines: dict[int, files.Record],
    evaluated: dict[int, files.Record],
  ) -> None:
    for run, line in lines.items():
      self.folder.append(self._place(run) | line)
    if not self.writers:
      return
    if self.is_sweep:
      self._write_points(evaluated)
      return
    now = time.monotonic()
    speed = {}
    if self.step > self.log_step:
      rate = (self.step - self.log_step) / (now - self.log_time)
      speed = {"examples_per_second": rate * self.exp.config.batch_size}
    self.log_step, self.log_time = self.step, now
    self.writers[0].write_scalars(self.step, lines[0] | speed)

  def _write_points(self, evaluated: dict[int, files.Record]) -> None:
    """Writes to TensorBoard what of an evaluation is drawn of a sweep."""
    period = self._periods()["evaluate"]
    for run, values in evaluated.items():
      values = self.newest_train_metrics.get(run, {}) | values
      kind = scoring.metric_of(scoring.score_name(values))
      point = {k: v for k, v in values.items() if k.endswith(kind)}
      evaluations = -(-self.exp.num_steps // period)
      stride = -(-evaluations // (MAX_SWEEP_NUMBERS // len(point)))
      at_end = self.step == self.exp.num_steps
      if at_end or self.step % (stride * period) == 0:
        self.writers[run].write_scalars(self.step, point)

  def _score(self, evaluated: dict[int, files.Record]) -> float | None:
    """Returns by what the best checkpoint of a run is chosen."""
    # The runs of a sweep share their checkpoints, but not their best step.
    if self.is_sweep or not evaluated or scoring.is_partial(evaluated[0]):
      return None
    name = scoring.score_name(evaluated[0])
    return scoring.score(name, evaluated[0][name])

  def _save(self, score: float | None) -> None:
    self.folder.sync()
    self.checkpoints.wait()
    self.checkpoints.save(self.step, self.trainer.items(), score)

  def _finish(self, seconds: float) -> files.Record:
    """Writes result.json, after the last checkpoint is on disk."""
    self.checkpoints.wait()
    runs = self._run_records()
    result = {
      "status": "finished" if self._going() else "diverged",
      "config": files.to_json(self.exp.config),
      "num_steps": self.step,
      **({"runs": runs} if self.is_sweep else runs[0]),
      "wall_time_seconds": seconds,
      "device": self.exp.devices[0].device_kind,
      # Of each run.
      "num_devices": experiment.devices_per_run(
        self.exp.config, self.exp.num_devices
      ),
      **files.provenance(),
    }
    self.folder.finish(result)
    return result

  def _run_records(self) -> list[files.Record]:
    lines: dict[str, list[files.Record]] = {name: [] for name in self.names}
    for line in self.folder.lines():
      lines[line.pop("run", "")].append(line)
    runs = []
    for i, counts in enumerate(self.trainer.count_parameters()):
      run: files.Record = {"run": self.names[i]} if self.is_sweep else {}
      run["status"] = "diverged" if i in self.diverged else "finished"
      run |= counts | scoring.summarize(lines[self.names[i]])
      if i in self.diverged:
        metric, step = self.diverged[i]
        run["diverged"] = {"metric": metric, "step": step}
      runs.append(run)
    return runs

  def close(self) -> None:
    self.checkpoints.close()


def _create_trainer(
  exp: Experiment, weights: dict[str, PyTree] | None
) -> trainer_lib.Trainer:
  if exp.config.dataset in kinds.GAMES:
    return rollouts.Trainer(exp, weights)
  return trainer_lib.Trainer(exp, weights)


def _plain(value: Any) -> Any:
  """TensorBoard's hyper-parameters are numbers and texts."""
  return str(value) if isinstance(value, list) else value


def _train_name(metric: str) -> str:
  """The metrics that evaluations have too are told apart by their split."""
  return f"train_{metric}" if metric in scoring.SCORES else metric


def _weights_of(exp: Experiment, workdir: str) -> dict[str, PyTree]:
  """Returns what `config.init_from` names, before anything is written."""
  like = {"weights": abstract_weights(exp.split()[0])}
  try:
    return checkpoints.restore(workdir, "latest", like)[1]["weights"]
  except checkpoints.CheckpointError as e:
    raise checkpoints.CheckpointError(f"config.init_from={e}") from e


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  writer: RunsWriter | None = None,
  *,
  data_dir: str | None = None,
  make_hooks: Callable[[int], Sequence[Hook]] = lambda num_steps: (),
  should_stop: Callable[[], bool] = lambda: False,
) -> files.Record:
  """Trains, or resumes, or finds that the run, or the sweep, is over.

  Args:
    config: every field of configs/fields/.
    workdir: folder of the run.
    writer: receives the metrics (`clu.metric_writers`).
    data_dir: see `data.load`.
    make_hooks: number of steps -> functions that are called with the number
      of steps taken after every call to the device.
    should_stop: is asked before every call to the device.

  Returns:
    The record in result.json. Its 'status' is 'finished' or 'diverged'; that
    of a sweep, whose runs have their own, is 'diverged' if all diverged.

  Raises:
    ConfigError, DataError: before anything is written (DataError also while
      data is streamed).
    RunError: the folder belongs to another run, or is in use.
    CheckpointError: `config.init_from` does not fit.
    Stopped: `should_stop` said so; the same call resumes.
  """
  base.check(config)
  num_devices = experiment.devices_per_run(config, jax.local_device_count())
  result = files.read_result(workdir, config, num_devices)
  if result is not None:
    return result
  exp = experiment.create(config, data.load_runs(sweep.runs(config), data_dir))
  return train_experiment(
    exp, workdir, writer, make_hooks=make_hooks, should_stop=should_stop
  )


def train_experiment(
  exp: Experiment,
  workdir: str,
  writer: RunsWriter | None = None,
  *,
  make_hooks: Callable[[int], Sequence[Hook]] = lambda num_steps: (),
  should_stop: Callable[[], bool] = lambda: False,
) -> files.Record:
  """`train_and_evaluate` for an experiment with data of its own."""
  experiment.check_batch(exp)
  weights = None
  init_from = exp.config.init_from
  if init_from and not checkpoints.has_whole(workdir):
    weights = _weights_of(exp, init_from)
  num_devices = experiment.devices_per_run(exp.config, exp.num_devices)
  with (
    contextlib.closing(
      files.RunFolder(workdir, exp.config, num_devices)
    ) as folder,
    contextlib.closing(_Loop(exp, folder, writer, weights)) as loop,
  ):
    return loop.train(make_hooks(exp.num_steps), should_stop)


def evaluate(
  workdir: str, which: str = "latest", data_dir: str | None = None
) -> list[files.Record]:
  """Returns the metrics of every run in a checkpoint of a run folder.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' (not of a sweep) or a step.
    data_dir: see `data.load`.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint.
    DataError: the data is missing.
  """
  config = files.load_config(workdir)
  exp = experiment.create(config, data.load_runs(sweep.runs(config), data_dir))
  parts = exp.split()
  one_run = {"weights": abstract_weights(parts[0])}
  like = trainer_lib.abstract_checkpoint(exp, one_run)
  step, items = checkpoints.restore(workdir, which, like)
  weights = trainer_lib.cut(items["weights"], parts)
  evaluator = evaluation.create(parts)
  names = naming.run_names(config)
  return [
    ({"run": name} if name else {}) | {"step": step} | values
    for name, values in zip(names, evaluator(weights), strict=True)
  ]
