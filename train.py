"""The one training loop: `train_and_evaluate(config, workdir, writer)`."""

import collections
from collections.abc import Callable, Sequence
import contextlib
import math
import sys
import time
from typing import Any, Protocol

from clu import parameter_overview
import jax
import ml_collections
import numpy as np

import checkpoints
from configs import base
import data
import evaluation
import experiment
from experiment import Experiment
import metrics as metrics_lib
import progress
import records
from state import abstract_weights
from state import count_parameters
from state import create_state
from step import compile_chunk as compile_chunk
from step import train_step as train_step

PyTree = Any


class Writer(Protocol):
  """The part of `clu.metric_writers.MetricWriter` that training needs."""

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None: ...

  def write_texts(self, step: int, texts: dict[str, str]) -> None: ...

  def write_hparams(self, hparams: dict[str, Any]) -> None: ...


Hook = Callable[[int], Any]


class Stopped(Exception):
  """Training left off, after it saved, because it was asked to."""


class _Run:
  """One run on its way through the loop."""

  def __init__(
    self,
    exp: Experiment,
    folder: records.RunFolder,
    writer: Writer | None,
    weights: dict[str, PyTree] | None,
  ):
    self.exp = exp
    self.folder = folder
    self.writer = writer
    self.checkpoints = checkpoints.Checkpoints(folder.path)
    self.feed = exp.create_feed()
    self.resident = jax.device_put(self.feed.resident, exp.replicated)
    self.evaluator = evaluation.Evaluator(exp)
    self.chunks: dict[bool, Callable[..., Any]] = {}
    self.no_metrics = self._place(metrics_lib.empty(exp.train_metrics))
    self.metrics = self.no_metrics
    self.state = self._place(create_state(exp, self.feed, weights))
    self.step = 0
    self.newest_train_metrics: records.Record = {}
    self.log_step, self.log_time = 0, time.monotonic()

  def _place(self, tree: PyTree) -> PyTree:
    return jax.device_put(tree, self.exp.replicated)

  def resume(self) -> None:
    """Goes on from the newest checkpoint, if there is one."""
    restored = self.checkpoints.restore_newest(self._saved())
    if restored is not None:
      self.step, saved = restored
      self.metrics = saved["training"].pop("metrics")
      self.state = self.state.replace(
        **saved["weights"], **saved["training"], mask=saved.get("mask")
      )
      self.log_step = self.step
    self.folder.keep_lines_up_to(self.step)

  def train(
    self, hooks: Sequence[Hook], should_stop: Callable[[], bool]
  ) -> records.Record:
    """Takes the steps that are left and returns the result."""
    exp = self.exp
    start = time.monotonic()
    self.resume()
    self._introduce()
    bar = progress.Progress(self.step, exp.num_steps, exp.steps_per_epoch)
    in_flight: collections.deque[Any] = collections.deque()
    diverged = None
    try:
      while self.step < exp.num_steps and not diverged:
        if should_stop():
          self._stop()
        self._call_device()
        in_flight.append(self.metrics)
        # One call runs while the host prepares the next, but no more.
        if exp.serialize_calls or len(in_flight) > 1:
          jax.block_until_ready(in_flight.popleft())
        for hook in hooks:
          hook(self.step)
        bar.step(self.step)
        diverged = self._log_evaluate_save(bar)
    finally:
      bar.close()
    return self._finish(diverged, time.monotonic() - start)

  def _introduce(self) -> None:
    """Says what is trained, and from where."""
    exp, counts = self.exp, count_parameters(self.state)
    sizes = [f"{n} {s.num_examples:,}" for n, s in exp.dataset.splits.items()]
    print(f"{exp.dataset.name}: {', '.join(sizes)} examples")
    print(
      f"{exp.config.model}: {counts['num_parameters']:,} parameters,"
      f" {counts['num_unpruned_parameters']:,} not pruned;"
      f" {exp.num_devices} x {exp.devices[0].device_kind}"
    )
    if self.step:
      print(f"resumed at step {self.step}")
    elif self.writer is not None:
      hparams = records.identity(exp.config)
      self.writer.write_hparams({k: _plain(v) for k, v in hparams.items()})
      overview = parameter_overview.get_parameter_overview(self.state.params)
      self.writer.write_texts(0, {"parameters": f"```\n{overview}\n```"})
      self.writer.write_scalars(0, counts | {"sparsity": exp.config.sparsity})
    sys.stdout.flush()

  def _stop(self) -> None:
    if metrics_lib.compute(self.metrics)[1]:
      raise Stopped(f"stopped at step {self.step}, not saved: not finite")
    self._save(score=None)
    self.checkpoints.wait()
    raise Stopped(f"stopped and saved at step {self.step}")

  def _call_device(self) -> None:
    exp = self.exp
    ascend = self.step in exp.sam_steps
    compiles = ascend not in self.chunks
    if compiles:
      self.chunks[ascend] = compile_chunk(exp, ascend)
    num_steps = min(exp.steps_per_call, self._next_stop() - self.step)
    feed = self.feed.take(self.step, num_steps, exp.steps_per_call)
    self.state, self.metrics = self.chunks[ascend](
      self.state, self.metrics, np.int32(num_steps), feed, self.resident
    )
    self.step += num_steps
    if compiles:  # Which is not counted as training.
      jax.block_until_ready(self.metrics)
      self.log_step, self.log_time = self.step, time.monotonic()

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
    }

  def _is_due(self, action: str) -> bool:
    period = self._periods()[action]
    at_end = self.step == self.exp.num_steps
    return at_end or (period > 0 and self.step % period == 0)

  def _log_evaluate_save(
    self, bar: progress.Progress
  ) -> tuple[str, int] | None:
    """Does what is due after a step.

    Returns:
      (metric, step) of the first value that is not finite, or None.
    """
    due = {action for action in self._periods() if self._is_due(action)}
    if not due:
      return None
    # Nothing that is not finite is saved.
    values, nonfinite = metrics_lib.compute(self.metrics)
    if nonfinite:
      return nonfinite
    line: records.Record = {}
    if "log" in due:
      line |= {_train_name(k): float(v) for k, v in values.items()}
      self.newest_train_metrics = line
      self.metrics = self.no_metrics
    score = None
    if "evaluate" in due:
      evaluated = self.evaluator(self.state.weights)
      for name, value in evaluated.items():
        if not math.isfinite(value):
          return name, self.step
      name = records.score_name(evaluated)
      if not records.is_partial(evaluated):
        score = records.score(name, evaluated[name])
      bar.evaluated(self.step, self.newest_train_metrics, evaluated)
      line = line | evaluated
    if line:
      self._write(line)
    if "evaluate" in due or "save" in due:
      self._save(score)
    return None

  def _write(self, line: records.Record) -> None:
    epoch = self.step / self.exp.steps_per_epoch
    self.folder.append({"step": self.step, "epoch": epoch} | line)
    if self.writer is None:
      return
    now = time.monotonic()
    speed = {}
    if self.step > self.log_step:
      rate = (self.step - self.log_step) / (now - self.log_time)
      speed = {"examples_per_second": rate * self.exp.config.batch_size}
    self.log_step, self.log_time = self.step, now
    self.writer.write_scalars(self.step, line | speed)

  def _saved(self) -> dict[str, PyTree]:
    """Returns the items of a checkpoint."""
    state = self.state
    training = state.training | {"metrics": self.metrics}
    items = {"weights": state.weights, "training": training}
    # A mask never changes; whoever measures a pruned model needs it.
    return items if state.mask is None else items | {"mask": state.mask}

  def _save(self, score: float | None) -> None:
    self.folder.sync()
    self.checkpoints.save(self.step, self._saved(), score)

  def _finish(
    self, diverged: tuple[str, int] | None, seconds: float
  ) -> records.Record:
    """Writes result.json, after the last checkpoint is on disk."""
    self.checkpoints.wait()
    result = {
      "status": "diverged" if diverged else "finished",
      "config": records.to_json(self.exp.config),
      "num_steps": self.step,
      **count_parameters(self.state),
      **records.summarize(self.folder.lines()),
      "wall_time_seconds": seconds,
      "device": self.exp.devices[0].device_kind,
      "num_devices": self.exp.num_devices,
      **records.provenance(),
    }
    if diverged:
      metric, step = diverged
      result["diverged"] = {"metric": metric, "step": step}
    self.folder.finish(result)
    return result

  def close(self) -> None:
    self.checkpoints.close()


def _plain(value: Any) -> Any:
  """TensorBoard's hyper-parameters are numbers and texts."""
  return str(value) if isinstance(value, list) else value


def _train_name(metric: str) -> str:
  """The metrics that evaluations have too are told apart by their split."""
  return f"train_{metric}" if metric in ("loss", "accuracy") else metric


def _weights_of(exp: Experiment, workdir: str) -> dict[str, PyTree]:
  """Returns what `config.init_from` names, before anything is written."""
  like = abstract_weights(exp)
  try:
    return checkpoints.restore_weights(workdir, "latest", like)[1]
  except checkpoints.CheckpointError as e:
    raise checkpoints.CheckpointError(f"config.init_from={e}") from e


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: str,
  writer: Writer | None = None,
  *,
  data_dir: str | None = None,
  make_hooks: Callable[[int], Sequence[Hook]] = lambda num_steps: (),
  should_stop: Callable[[], bool] = lambda: False,
) -> records.Record:
  """Trains, or resumes, or finds that the run is over.

  Args:
    config: every field of configs/base.py.
    workdir: folder of the run.
    writer: receives the metrics (`clu.metric_writers`).
    data_dir: see `data.load`.
    make_hooks: number of steps -> functions that are called with the number
      of steps taken after every call to the device.
    should_stop: is asked before every call to the device.

  Returns:
    The record in result.json. Its 'status' is 'finished' or 'diverged'.

  Raises:
    ConfigError, DataError: before anything is written (DataError also while
      data is streamed).
    RunError: the folder belongs to another run, or is in use.
    CheckpointError: `config.init_from` does not fit.
    Stopped: `should_stop` said so; the same call resumes.
  """
  base.check(config)
  result = records.read_result(workdir, config, jax.local_device_count())
  if result is not None:
    return result
  exp = experiment.create(config, data.load(config, data_dir))
  return train_experiment(
    exp, workdir, writer, make_hooks=make_hooks, should_stop=should_stop
  )


def train_experiment(
  exp: Experiment,
  workdir: str,
  writer: Writer | None = None,
  *,
  make_hooks: Callable[[int], Sequence[Hook]] = lambda num_steps: (),
  should_stop: Callable[[], bool] = lambda: False,
) -> records.Record:
  """`train_and_evaluate` for an experiment with data of its own."""
  experiment.check_batch(exp)
  weights = None
  init_from = exp.config.init_from
  if init_from and not checkpoints.has_whole(workdir):
    weights = _weights_of(exp, init_from)
  with (
    contextlib.closing(
      records.RunFolder(workdir, exp.config, exp.num_devices)
    ) as folder,
    contextlib.closing(_Run(exp, folder, writer, weights)) as run,
  ):
    return run.train(make_hooks(exp.num_steps), should_stop)


def evaluate(
  workdir: str, which: str = "latest", data_dir: str | None = None
) -> records.Record:
  """Returns the metrics of a run folder's checkpoint.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' or a step.
    data_dir: see `data.load`.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint.
    DataError: the data is missing.
  """
  config = records.load_config(workdir)
  exp = experiment.create(config, data.load(config, data_dir))
  step, weights = checkpoints.restore_weights(
    workdir, which, abstract_weights(exp)
  )
  return {"step": step} | evaluation.Evaluator(exp)(weights)
