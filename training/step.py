"""The training step: a pure function of one device, and its chunks.

The step has collectives over the axis 'batch' and is wrapped in `jax.pmap`
once, in `compile_chunk`.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from data import bucketing
from data import label_noise
from data import pipeline
from models import convolution
import sam
from sam import masks
from sam import schedule as schedule_lib
from training import losses
from training import metrics as metrics_lib
from training import run_axis
from training.placement import AXIS
from training.placement import Placement
from training.setup import Setup
from training.state import TrainState

Batch = dict[str, jax.Array]
# (raw batch, key of the run, step) -> the batch as the model takes it, with a
# key 'rng' for each example.
Prepare = Callable[[Batch, jax.Array, jax.Array], Batch]
# As `jax.value_and_grad` with aux: (loss_fn) -> (params, batch, rho) ->
# ((loss, aux), gradient).
ValueAndGrad = Callable[[Any], Callable[..., Any]]
# No step has this number, so what is folded into its key is no step's key.
_NO_STEP = 2**32 - 1


def train_step(
  state: TrainState,
  batch: Batch,
  *,
  prepare: Prepare,
  loss_fn: losses.LossFn,
  value_and_grad: ValueAndGrad,
  optimizer: optax.GradientTransformationExtraArgs,
  schedule: schedule_lib.Schedule,
  rho_schedule: schedule_lib.Schedule,
  collection: metrics_lib.Collection,
  sync_axis: str | None,
) -> tuple[TrainState, Any]:
  """One step on one device, inside an axis named 'batch'.

  What leaves it - weights, running averages, metrics - is the same on every
  device. Loss, accuracy and running averages are those of the unperturbed
  pass; weight decay is added after SAM's gradient.

  Args:
    state: the state, the same on every device.
    batch: this device's raw 'inputs' and 'targets', [B / D, ...].
    prepare: augments, normalizes and trims the batch.
    loss_fn: what is minimized.
    value_and_grad: how its gradient is taken: SAM's, or the plain one.
    optimizer: turns the gradient into an update.
    schedule: step -> factor on the learning rate.
    rho_schedule: step -> factor on rho.
    collection: which metrics.
    sync_axis: over which gradients are averaged; None: there is one device.

  Returns:
    The new state and the step's metrics.
  """
  batch = prepare(batch, state.rng, state.step)

  def masked_loss(params, batch):
    params = masks.apply(params, state.mask)
    with convolution.first_order():
      return loss_fn(params, state.model_state, batch, batch["rng"][0])

  rho = state.hparams["rho"] * rho_schedule(state.step)
  (_, aux), grads = value_and_grad(masked_loss)(state.params, batch, rho)
  changed = aux["model_state"]
  if sync_axis:
    grads, changed = jax.lax.pmean((grads, changed), sync_axis)
  # Flax keeps running averages in float32, and returns float64 for float64.
  kept = {name: state.model_state[name] for name in changed}
  changed = jax.tree.map(lambda x, old: x.astype(old.dtype), changed, kept)
  learning_rate = state.hparams["learning_rate"]
  updates, opt_state = optimizer.update(
    grads,
    state.opt_state,
    state.params,
    learning_rate=learning_rate,
    weight_decay=state.hparams["weight_decay"],
  )
  metrics = metrics_lib.of_batch(
    collection,
    sync_axis,
    **aux["per_example"],
    gradient_norm=sam.global_norm(grads),
    perturbed_loss=aux.get("perturbed_loss"),
    learning_rate=learning_rate * schedule(state.step),
    step=state.step,
  )
  new_state = state.replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    model_state={**state.model_state, **changed},
    opt_state=opt_state,
  )
  return new_state, metrics


def create(
  setup: Setup,
  sync_axis: str | None,
  *,
  ascend: bool,
  size: bucketing.Size = (),
) -> Callable[[TrainState, Batch], tuple[TrainState, Any]]:
  """Returns the step of a run: (state, raw batch) -> (state, metrics).

  Args:
    setup: of the run.
    sync_axis: see `train_step`.
    ascend: whether to take SAM's gradient; else the plain one.
    size: what the batch is trimmed to.
  """
  return functools.partial(
    train_step,
    prepare=functools.partial(
      _prepare, setup=setup, size=size, sync_axis=sync_axis
    ),
    loss_fn=setup.loss_fn,
    value_and_grad=_sam(setup, sync_axis) if ascend else _plain(setup),
    optimizer=setup.optimizer,
    schedule=setup.schedule,
    rho_schedule=setup.rho_schedule,
    collection=setup.train_metrics,
    sync_axis=sync_axis,
  )


def _sam(setup: Setup, sync_axis: str | None) -> ValueAndGrad:
  c = setup.config
  return functools.partial(
    sam.value_and_grad,
    perturbation=c.perturbation,
    asam_eta=c.asam_eta,
    ascent_steps=c.ascent_steps,
    microbatch_size=c.microbatch_size or None,
    accumulation=c.gradient_accumulation,
    merge_aux=losses.merge_microbatches,
    perturbs=setup.perturbs,
    sync_axis=sync_axis if c.sync_perturbation else None,
  )


def _plain(setup: Setup) -> ValueAndGrad:
  num_parts = setup.config.gradient_accumulation

  def of(loss_fn: Any) -> Callable[..., Any]:
    value_and_grad = sam.accumulated(
      loss_fn, num_parts, losses.merge_microbatches
    )
    return lambda params, batch, rho: value_and_grad(params, batch)

  return of


def _prepare(
  batch: Batch,
  rng: jax.Array,
  step: jax.Array,
  *,
  setup: Setup,
  size: bucketing.Size,
  sync_axis: str | None,
) -> Batch:
  """Returns the batch as the model takes it; see `Prepare`."""
  c, dataset = setup.config, setup.dataset
  # An example's keys depend on its place in the batch of all devices.
  num_examples = len(batch["targets"])
  place_B = jnp.arange(num_examples)
  if sync_axis:
    place_B += jax.lax.axis_index(sync_axis) * num_examples
  step_key = jax.random.fold_in(rng, step)
  keys_Bx2 = jax.vmap(
    lambda i: jax.random.split(jax.random.fold_in(step_key, i))
  )(place_B)
  inputs, targets = batch["inputs"], batch["targets"]
  if dataset.augment is not None:
    inputs = dataset.augment(keys_Bx2[:, 0], inputs)
  if c.step_label_noise:
    noise_key = jax.random.fold_in(jax.random.fold_in(rng, _NO_STEP), step)
    noise_keys_B = jax.vmap(functools.partial(jax.random.fold_in, noise_key))(
      place_B
    )
    targets = label_noise.at_step(
      noise_keys_B, targets, c.step_label_noise, flips=c.loss == "logistic"
    )
  batch = {
    "inputs": dataset.normalize(inputs),
    "targets": targets,
    "rng": keys_Bx2[:, 1],
  }
  return dataset.trim(batch, size)


def compile_chunk(
  setup: Setup,
  placement: Placement,
  steps_per_call: int,
  *,
  ascend: bool,
  size: bucketing.Size = (),
) -> Callable[..., Any]:
  """Returns the pmapped chunk of up to `steps_per_call` training steps.

  Their batches are trimmed to one size.

  It is called as (state, metrics, num_steps, feed, resident) and returns the
  state, which is donated, and the metrics merged with those of its steps. Where
  batches are spread, `None` in in_axes and out_axes keeps the state one
  replicated array. Note that an output that differs between devices would pass
  silently there.
  """
  num_runs = placement.num_vmapped
  step = create(setup, placement.sync_axis, ascend=ascend, size=size)
  step_runs = run_axis.vmap(step, num_runs)
  gather = run_axis.vmap(pipeline.batch_from, num_runs, (run_axis.RESIDENT, 0))

  def chunk(state, metrics, num_steps, feed, resident):
    def one_step(t, carry):
      state, metrics = carry
      batch = gather(resident, jax.tree.map(lambda x: x[t], feed))
      state, update = step_runs(state, batch)
      return state, metrics_lib.merge(metrics, update)

    if steps_per_call == 1:  # No loop: it would slow convolutions on CPU.
      return one_step(0, (state, metrics))
    # A loop whose length is an argument compiles once for all lengths.
    return jax.lax.fori_loop(0, num_steps, one_step, (state, metrics))

  of_runs, resident = run_axis.device_axes(placement)
  return jax.pmap(
    chunk,
    axis_name=AXIS,
    in_axes=(of_runs, of_runs, None, 0, resident),
    out_axes=(of_runs, of_runs),
    devices=placement.devices,
    donate_argnums=0,
  )
