"""The state of training, and how it begins."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from data import dataset as dataset_lib
from data import pipeline
from models import centred
from sam import masks
from training.experiment import AXIS
from training.experiment import Experiment

PyTree = Any


class TrainState(flax.struct.PyTreeNode):
  """Everything that a step reads and changes.

  Attributes:
    step: steps taken, int32.
    params: weights.
    model_state: the model's other variables: BatchNorm's running averages,
      and weights that are not trained.
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


def create_states(
  exp: Experiment, weights: dict[str, PyTree] | None = None
) -> list[TrainState]:
  """Returns the state of every run before the first step; they share arrays.

  Args:
    exp: the experiment.
    weights: 'params' and 'model_state' to start from, and to prune; None: new
      ones, drawn from the seed.
  """
  init = _initializer(exp)
  gradient = jax.jit(functools.partial(_batch_gradient, exp=exp))
  starts: dict[tuple[Any, ...], TrainState] = {}
  states = []
  for i, run in enumerate(exp.runs):
    # What the initial state depends on, of all that differs between runs.
    key = run.seed, run.sparsity, id(exp.datasets[i])
    if key not in starts:
      starts[key] = _create_run(exp, i, init, gradient, weights)
    hparams = {
      name: jnp.asarray(run[name], jnp.result_type(float))
      for name in ("rho", "learning_rate", "weight_decay")
    }
    states.append(starts[key].replace(hparams=hparams))
  return states


def stack(states: Sequence[TrainState]) -> TrainState:
  """Returns a copy with a leading axis of runs, if there are several."""
  if len(states) == 1:
    return jax.tree.map(jnp.copy, states[0])
  return jax.tree.map(lambda *leaves: _stack(leaves), *states)


def _stack(leaves: Sequence[jax.Array]) -> Any:
  """Returns the leaves stacked, on the host: there it compiles nothing."""
  if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
    data = np.stack([jax.random.key_data(x) for x in leaves])
    return jax.random.wrap_key_data(jnp.asarray(data))
  return np.stack(leaves)


def _create_run(
  exp: Experiment,
  index: int,
  init: Callable[..., Any],
  gradient: Callable[..., PyTree],
  weights: dict[str, PyTree] | None,
) -> TrainState:
  """Returns the state of one run, without its hyper-parameters."""
  run = exp.runs[index]
  # One key per purpose.
  init_key, mask_key, step_key = jax.random.split(jax.random.key(run.seed), 3)
  weights = weights or init(init_key, _init_inputs(exp, index))
  params, model_state = weights["params"], weights["model_state"]

  mask = None
  if exp.prunes:
    grads = None
    if run.pruner == "snip":
      grads = gradient(params, model_state, _first_batch(exp, index))
    mask = masks.create(
      run.pruner,
      params,
      run.sparsity,
      key=mask_key,
      grads=grads,
      magnitude_scope=run.magnitude_scope,
    )
    # Zero from the start, or weight decay would move pruned weights.
    params = masks.apply(params, mask)
    model_state = centred.recentre(model_state, params)
  return TrainState(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=exp.optimizer.init(params),
    mask=mask,
    rng=step_key,
    hparams={},
  )


def _init_inputs(exp: Experiment, index: int) -> jax.Array:
  """Returns what the model of a run is initialized with.

  Models read its shape alone, but for Sim-BN, which keeps it: its statistics
  are those of the whole training set.
  """
  if exp.config.normalization == "sim_bn":
    split = exp.datasets[index].splits["train"]
    assert isinstance(split, dataset_lib.ArraySplit)  # `base.check` says so.
    return exp.dataset.normalize(jnp.asarray(split.inputs))
  return exp.dataset.normalize(jnp.zeros((1, *exp.dataset.input_shape)))


def _initializer(exp: Experiment) -> Callable[..., dict[str, PyTree]]:
  """Returns (key, inputs) -> 'params' and 'model_state', compiled once."""

  @jax.jit
  def init(key, inputs):
    variables = dict(exp.model.init(key, inputs, train=False))
    return {"params": variables.pop("params"), "model_state": variables}

  return init


def abstract_weights(exp: Experiment) -> dict[str, PyTree]:
  """Returns shapes, dtypes and shardings of the weights of one run."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=exp.replicated),
    jax.eval_shape(_initializer(exp), jax.random.key(0), _init_inputs(exp, 0)),
  )


def count_parameters(
  state: TrainState, num_runs: int = 1
) -> list[dict[str, int]]:
  """Returns the number of parameters of each run, and of those not pruned."""
  total = sum(x.size for x in jax.tree.leaves(state.params)) // num_runs
  unpruned = np.full(num_runs, total)
  for mask in jax.tree.leaves(state.mask):
    unpruned -= np.sum(~np.asarray(mask).reshape(num_runs, -1), axis=1)
  return [
    {"num_parameters": total, "num_unpruned_parameters": int(n)}
    for n in unpruned
  ]


def _first_batch(exp: Experiment, index: int) -> dict[str, jax.Array]:
  """Returns the batch of step 0 of a run, [1, B, ...]."""
  alone = dataclasses.replace(
    exp,
    runs=exp.runs[index : index + 1],
    datasets=exp.datasets[index : index + 1],
    devices=exp.devices[:1],
  )
  whole = jax.tree.map(
    lambda x: np.concatenate(x[:, 0]), alone.create_feed().take(0, 1, pad_to=1)
  )
  batch = pipeline.batch_from(alone.resident("train"), whole)
  inputs = exp.dataset.normalize(jnp.asarray(batch["inputs"]))
  return jax.tree.map(lambda x: x[None], batch | {"inputs": inputs})


def _batch_gradient(
  params: PyTree, model_state: PyTree, batch: PyTree, *, exp: Experiment
) -> PyTree:
  """Returns the gradient of the mean loss of a batch [1, B, ...]."""

  def mean_loss(params, batch):
    return exp.loss_fn(params, model_state, batch, jax.random.key(0))[0]

  # BatchNorm over all devices is BatchNorm over this one whole batch.
  grad = jax.vmap(jax.grad(mean_loss), (None, 0), axis_name=AXIS)
  return jax.tree.map(lambda g: g[0], grad(params, batch))
