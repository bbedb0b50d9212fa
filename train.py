"""The one training loop: `train_and_evaluate(config, workdir, writer)`.

The step is a pure function of one device, with collectives over the axis
'batch'; it is wrapped in `jax.pmap` once, in `compile_chunk`.
"""

import collections
from collections.abc import Callable, Sequence
import functools
import math
import sys
import time
from typing import Any, Protocol

from clu import parameter_overview
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

import checkpoints
from configs import base
import data
from data import pipeline
import evaluation
import experiment
from experiment import AXIS
from experiment import Experiment
import losses
import metrics as metrics_lib
import progress
import records
import sam
from sam import masks
from state import TrainState
from state import count_parameters
from state import create_state
from state import initial_weights

PyTree = Any


class Writer(Protocol):
  """The part of `clu.metric_writers.MetricWriter` that training needs."""

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None: ...

  def write_texts(self, step: int, texts: dict[str, str]) -> None: ...

  def write_hparams(self, hparams: dict[str, Any]) -> None: ...


Hook = Callable[[int], Any]


class Stopped(Exception):
  """Training left off, after it saved, because it was asked to."""


def train_step(
  state: TrainState,
  batch: dict[str, jax.Array],
  *,
  exp: Experiment,
  ascend: bool,
) -> tuple[TrainState, Any]:
  """One step on one device, inside an axis named 'batch'.

  What leaves it - weights, running averages, metrics - is the same on every
  device. Loss, accuracy and running averages are those of the unperturbed
  pass; weight decay is added after SAM's gradient.

  Args:
    state: the state, the same on every device.
    batch: this device's raw 'inputs' and 'targets', [B / D, ...].
    exp: the experiment.
    ascend: whether to take SAM's gradient; else the plain one.

  Returns:
    The new state and the step's metrics (`exp.train_metrics`).
  """
  c = exp.config
  # An example's keys depend on its place in the batch of all devices.
  num_examples = len(batch["targets"])
  place_B = jax.lax.axis_index(AXIS) * num_examples + jnp.arange(num_examples)
  step_key = jax.random.fold_in(state.rng, state.step)
  keys_Bx2 = jax.vmap(
    lambda i: jax.random.split(jax.random.fold_in(step_key, i))
  )(place_B)
  inputs = batch["inputs"]
  if exp.dataset.augment is not None:
    inputs = exp.dataset.augment(keys_Bx2[:, 0], inputs)
  batch = {
    "inputs": exp.dataset.normalize(inputs),
    "targets": batch["targets"],
    "rng": keys_Bx2[:, 1],
  }

  def loss_fn(params, batch):
    params = masks.apply(params, state.mask)
    return exp.loss_fn(params, state.model_state, batch, batch["rng"][0])

  if ascend:
    grad_fn = sam.value_and_grad(
      loss_fn,
      perturbation=c.perturbation,
      asam_eta=c.asam_eta,
      ascent_steps=c.ascent_steps,
      microbatch_size=c.microbatch_size or None,
      merge_aux=losses.merge_microbatches,
      sync_axis=AXIS if c.sync_perturbation else None,
    )
    (loss, aux), grads = grad_fn(state.params, batch, state.hparams["rho"])
    sharpness = aux["perturbed_loss"] - loss
  else:
    plain_grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, aux), grads = plain_grad_fn(state.params, batch)
    sharpness = jnp.zeros_like(loss)

  grads, model_state = jax.lax.pmean((grads, aux["model_state"]), AXIS)
  learning_rate = state.hparams["learning_rate"]
  updates, opt_state = exp.optimizer.update(
    grads,
    state.opt_state,
    state.params,
    learning_rate=learning_rate,
    weight_decay=state.hparams["weight_decay"],
  )
  metrics = exp.train_metrics.gather_from_model_output(
    axis_name=AXIS,
    **aux["per_example"],
    gradient_norm=sam.global_norm(grads),
    sharpness=sharpness,
    learning_rate=learning_rate * exp.schedule(state.step),
    step=state.step,
  )
  new_state = state.replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    model_state=model_state,
    opt_state=opt_state,
  )
  return new_state, metrics


def compile_chunk(exp: Experiment, ascend: bool) -> Callable[..., Any]:
  """Returns the pmapped chunk of up to `exp.steps_per_call` training steps.

  It is called as (state, metrics, num_steps, feed, resident) and returns the
  state, which is donated, and the metrics merged with those of its steps. With
  `None` in in_axes and out_axes the state stays one replicated array. Note
  that an output that differs between devices would pass silently here.
  """
  step_fn = functools.partial(train_step, exp=exp, ascend=ascend)

  def one_step(t, carry, feed, resident):
    state, metrics = carry
    entry = jax.tree.map(lambda x: x[t], feed)
    state, update = step_fn(state, pipeline.batch_from(resident, entry))
    return state, metrics_lib.merge(metrics, update)

  def chunk(state, metrics, num_steps, feed, resident):
    body = functools.partial(one_step, feed=feed, resident=resident)
    if exp.steps_per_call == 1:  # No loop: it would slow convolutions on CPU.
      return body(0, (state, metrics))
    # A loop whose length is an argument compiles once for all lengths.
    return jax.lax.fori_loop(0, num_steps, body, (state, metrics))

  return jax.pmap(
    chunk,
    axis_name=AXIS,
    in_axes=(None, None, None, 0, None),
    out_axes=(None, None),
    donate_argnums=0,
  )


class _Run:
  """One run on its way through the loop."""

  def __init__(
    self, exp: Experiment, folder: records.RunFolder, writer: Writer | None
  ):
    self.exp = exp
    self.folder = folder
    self.writer = writer
    self.checkpoints = checkpoints.Checkpoints(folder.path)
    self.feed = pipeline.create_feed(
      exp.dataset.splits["train"],
      seed=exp.config.seed,
      batch_size=exp.config.batch_size,
      num_devices=exp.num_devices,
    )
    self.resident = jax.device_put(self.feed.resident, exp.replicated)
    self.evaluator = evaluation.Evaluator(exp)
    self.chunks: dict[bool, Callable[..., Any]] = {}
    self.no_metrics = self._place(metrics_lib.empty(exp.train_metrics))
    self.metrics = self.no_metrics
    state = create_state(exp, self.feed)
    if exp.config.init_from:
      state = self._other_weights(state, exp.config.init_from)
    self.state = self._place(state)
    self.step = 0
    self.newest_train_metrics: records.Record = {}
    self.log_time = time.monotonic()
    self.log_step = 0

  def _place(self, tree: PyTree) -> PyTree:
    return jax.device_put(tree, self.exp.replicated)

  def _other_weights(self, state: TrainState, workdir: str) -> TrainState:
    weights = checkpoints.restore_weights(workdir, "latest", state.weights)[1]
    params = masks.apply(weights["params"], state.mask)
    return state.replace(params=params, model_state=weights["model_state"])

  def resume(self) -> None:
    """Goes on from the newest checkpoint, if there is one."""
    restored = self.checkpoints.restore_newest(self._saved())
    if restored is not None:
      self.step, saved = restored
      self.metrics = saved["training"].pop("metrics")
      self.state = self.state.replace(**saved["weights"], **saved["training"])
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
        self._call_device()
        in_flight.append(self.metrics)
        # One call runs while the host prepares the next, but no more.
        if exp.serialize_calls or len(in_flight) > 1:
          jax.block_until_ready(in_flight.popleft())
        bar.step(self.step)
        for hook in hooks:
          hook(self.step)
        diverged = self._log_evaluate_save(bar)
        if not diverged and should_stop():
          self._save(score=None)
          raise Stopped(f"stopped and saved at step {self.step}")
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
      f" {exp.num_devices} x {jax.local_devices()[0].device_kind}"
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

  def _call_device(self) -> None:
    exp = self.exp
    ascend = self.step in exp.sam_steps
    if ascend not in self.chunks:
      self.chunks[ascend] = compile_chunk(exp, ascend)
    num_steps = min(exp.steps_per_call, self._next_stop() - self.step)
    feed = self.feed.take(self.step, num_steps, exp.steps_per_call)
    self.state, self.metrics = self.chunks[ascend](
      self.state, self.metrics, np.int32(num_steps), feed, self.resident
    )
    self.step += num_steps

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
    values = jax.device_get(self.metrics.compute())
    nonfinite = metrics_lib.nonfinite(values)
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
    rate = (self.step - self.log_step) / (now - self.log_time)
    self.log_step, self.log_time = self.step, now
    speed = {
      "steps_per_second": rate,
      "examples_per_second": rate * self.exp.config.batch_size,
    }
    self.writer.write_scalars(self.step, line | speed)

  def _saved(self) -> dict[str, PyTree]:
    """Returns the items of a checkpoint."""
    state = self.state
    training = state.training | {"metrics": self.metrics}
    items = {"weights": state.weights, "training": training}
    # A mask never changes; whoever measures a pruned model needs it.
    return items if state.mask is None else items | {"mask": state.mask}

  def _save(self, score: float | None) -> None:
    self.checkpoints.save(self.step, self._saved(), score)

  def _finish(
    self, diverged: tuple[str, int] | None, seconds: float
  ) -> records.Record:
    """Writes result.json, after the last checkpoint is on disk."""
    self.checkpoints.close()
    result = {
      "status": "diverged" if diverged else "finished",
      "config": records.to_json(self.exp.config),
      "num_steps": self.step,
      **count_parameters(self.state),
      **records.summarize(self.folder.lines()),
      "wall_time_seconds": seconds,
      "device": jax.local_devices()[0].device_kind,
      "num_devices": self.exp.num_devices,
      **records.provenance(),
    }
    if diverged:
      metric, step = diverged
      result["diverged"] = {"metric": metric, "step": step}
    self.folder.finish(result)
    return result


def _plain(value: Any) -> Any:
  """TensorBoard's hyper-parameters are numbers and texts."""
  return str(value) if isinstance(value, list) else value


def _train_name(metric: str) -> str:
  """The metrics that evaluations have too are told apart by their split."""
  return f"train_{metric}" if metric in ("loss", "accuracy") else metric


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
    should_stop: is asked after every call to the device.

  Returns:
    The record in result.json. Its 'status' is 'finished' or 'diverged'.

  Raises:
    ConfigError, DataError: before anything is written.
    RunError: the folder belongs to another run, or is in use.
    CheckpointError: `config.init_from` does not fit.
    Stopped: `should_stop` said so; the same call resumes.
  """
  base.check(config)
  exp = experiment.create(config, data.load(config, data_dir))
  folder = records.RunFolder(workdir, config, exp.num_devices)
  try:
    result = folder.result()
    if result is None:
      run = _Run(exp, folder, writer)
      result = run.train(make_hooks(exp.num_steps), should_stop)
    return result
  finally:
    folder.close()


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
  like = jax.device_put(initial_weights(exp), exp.replicated)
  step, weights = checkpoints.restore_weights(workdir, which, like)
  return {"step": step} | evaluation.Evaluator(exp)(weights)
