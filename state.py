"""The state of training, and how it begins."""

import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from data import pipeline
from experiment import AXIS
from experiment import Experiment
from sam import masks

PyTree = Any


class TrainState(flax.struct.PyTreeNode):
  """Everything that a step reads and changes.

  Attributes:
    step: steps taken, int32.
    params: weights.
    model_state: the model's other variables (BatchNorm's running averages).
    opt_state: of the base optimizer.
    mask: False where a weight is pruned; None prunes nothing.
    rng: key from which those of every step are derived.
    hparams: 'rho', 'learning_rate' and 'weight_decay' as scalar arrays.
  """

  step: jax.Array
  params: PyTree
  model_state: PyTree
  opt_state: PyTree
  mask: PyTree | None
  rng: jax.Array
  hparams: dict[str, jax.Array]

  @property
  def weights(self) -> dict[str, PyTree]:
    """What evaluating and starting another run need."""
    return {"params": self.params, "model_state": self.model_state}

  @property
  def training(self) -> dict[str, PyTree]:
    """What resuming needs beside them; the rest follows from the config."""
    return {"step": self.step, "opt_state": self.opt_state}


def create_state(
  exp: Experiment,
  feed: pipeline.Feed,
  weights: dict[str, PyTree] | None = None,
) -> TrainState:
  """Returns the state before the first step.

  Args:
    exp: the experiment.
    feed: gives SNIP its training batch, the one of step 0.
    weights: 'params' and 'model_state' to start from, and to prune; None: new
      ones, drawn from the seed.
  """
  c = exp.config
  # One key per purpose.
  init_key, mask_key, step_key = jax.random.split(jax.random.key(c.seed), 3)
  weights = weights or initial_weights(exp, init_key)
  params, model_state = weights["params"], weights["model_state"]

  mask = None
  if c.sparsity:
    grads = None
    if c.pruner == "snip":
      grads = _first_gradient(exp, feed, params, model_state)
    mask = masks.create(
      c.pruner,
      params,
      c.sparsity,
      key=mask_key,
      grads=grads,
      magnitude_scope=c.magnitude_scope,
    )
    # Zero from the start, or weight decay would move pruned weights.
    params = masks.apply(params, mask)
  return TrainState(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=exp.optimizer.init(params),
    mask=mask,
    rng=step_key,
    hparams={
      name: jnp.asarray(c[name], jnp.result_type(float))
      for name in ("rho", "learning_rate", "weight_decay")
    },
  )


def initial_weights(
  exp: Experiment, key: jax.Array | None = None
) -> dict[str, PyTree]:
  """Returns 'params' and 'model_state' of a new model."""
  inputs = jnp.zeros((1, *exp.dataset.input_shape))
  init = jax.jit(functools.partial(exp.model.init, train=False))
  variables = dict(init(jax.random.key(0) if key is None else key, inputs))
  return {"params": variables.pop("params"), "model_state": variables}


def abstract_weights(exp: Experiment) -> dict[str, PyTree]:
  """Returns the shapes, dtypes and shardings of `initial_weights`."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=exp.replicated),
    jax.eval_shape(lambda: initial_weights(exp)),
  )


def count_parameters(state: TrainState) -> dict[str, int]:
  """Returns the number of parameters, and of those that are not pruned."""
  total = sum(x.size for x in jax.tree.leaves(state.params))
  pruned = sum(int((~m).sum()) for m in jax.tree.leaves(state.mask))
  return {"num_parameters": total, "num_unpruned_parameters": total - pruned}


def _first_gradient(
  exp: Experiment, feed: pipeline.Feed, params: PyTree, model_state: PyTree
) -> PyTree:
  """Returns the gradient on the batch of step 0, as it comes from the feed."""
  whole = jax.tree.map(
    lambda x: np.concatenate(x[:, 0]), feed.take(0, 1, pad_to=1)
  )
  batch = pipeline.batch_from(feed.resident, whole)
  batch = batch | {
    "inputs": exp.dataset.normalize(jnp.asarray(batch["inputs"]))
  }

  def mean_loss(params, batch):
    return exp.loss_fn(params, model_state, batch, jax.random.key(0))[0]

  # BatchNorm over all devices is BatchNorm over this one whole batch.
  grad = jax.vmap(jax.grad(mean_loss), (None, 0), axis_name=AXIS)
  first = jax.tree.map(lambda x: x[None], batch)
  return jax.tree.map(lambda g: g[0], jax.jit(grad)(params, first))
