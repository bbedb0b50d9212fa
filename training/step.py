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
import sam
from sam import masks
from training import losses
from training import metrics as metrics_lib
from training.experiment import AXIS
from training.experiment import Experiment
from training.state import TrainState

# No step has this number, so what is folded into its key is no step's key.
_NO_STEP = 2**32 - 1


def train_step(
  state: TrainState,
  batch: dict[str, jax.Array],
  *,
  exp: Experiment,
  ascend: bool,
  size: bucketing.Size = (),
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
    size: what the batch is trimmed to.

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
  inputs, targets = batch["inputs"], batch["targets"]
  if exp.dataset.augment is not None:
    inputs = exp.dataset.augment(keys_Bx2[:, 0], inputs)
  if c.step_label_noise:
    noise_key = jax.random.fold_in(state.rng, _NO_STEP)
    noise_key = jax.random.fold_in(noise_key, state.step)
    noise_keys_B = jax.vmap(functools.partial(jax.random.fold_in, noise_key))(
      place_B
    )
    targets = label_noise.at_step(
      noise_keys_B, targets, c.step_label_noise, flips=c.loss == "logistic"
    )
  batch = {
    "inputs": exp.dataset.normalize(inputs),
    "targets": targets,
    "rng": keys_Bx2[:, 1],
  }
  batch = exp.dataset.trim(batch, size)

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
      sync_axis=exp.sync_axis if c.sync_perturbation else None,
    )
    rho = state.hparams["rho"] * exp.rho_schedule(state.step)
    (_, aux), grads = grad_fn(state.params, batch, rho)
  else:
    plain_grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (_, aux), grads = plain_grad_fn(state.params, batch)

  changed = aux["model_state"]
  if exp.sync_axis:
    grads, changed = jax.lax.pmean((grads, changed), exp.sync_axis)
  learning_rate = state.hparams["learning_rate"]
  updates, opt_state = exp.optimizer.update(
    grads,
    state.opt_state,
    state.params,
    learning_rate=learning_rate,
    weight_decay=state.hparams["weight_decay"],
  )
  metrics = metrics_lib.of_batch(
    exp.train_metrics,
    exp.sync_axis,
    **aux["per_example"],
    gradient_norm=sam.global_norm(grads),
    perturbed_loss=aux.get("perturbed_loss"),
    learning_rate=learning_rate * exp.schedule(state.step),
    step=state.step,
  )
  new_state = state.replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    model_state={**state.model_state, **changed},
    opt_state=opt_state,
  )
  return new_state, metrics


def compile_chunk(
  exp: Experiment, ascend: bool, size: bucketing.Size = ()
) -> Callable[..., Any]:
  """Returns the pmapped chunk of up to `exp.steps_per_call` training steps.

  Their batches are trimmed to one size.

  It is called as (state, metrics, num_steps, feed, resident) and returns the
  state, which is donated, and the metrics merged with those of its steps. With
  `None` in in_axes and out_axes the state stays one replicated array. Note
  that an output that differs between devices would pass silently here.
  """
  step_fn = functools.partial(train_step, exp=exp, ascend=ascend, size=size)

  def step_run(carry, entry, resident):
    state, metrics = carry
    state, update = step_fn(state, pipeline.batch_from(resident, entry))
    return state, metrics_lib.merge(metrics, update)

  step_runs: Callable[..., Any] = step_run
  if exp.is_stacked:
    step_runs = jax.vmap(step_run, (0, 0, pipeline.RUN_AXES))

  def one_step(t, carry, feed, resident):
    return step_runs(carry, jax.tree.map(lambda x: x[t], feed), resident)

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
    devices=exp.devices,
    donate_argnums=0,
  )
