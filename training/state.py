"""The state of training, and how it begins."""

from collections.abc import Callable, Hashable
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from data import bucketing
from data import dataset as dataset_lib
from data import pipeline
from models import centred
from sam import masks
from training import run_axis
from training.placement import AXIS
from training.setup import Setup

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
  def progress(self) -> dict[str, PyTree]:
    """What resuming needs beside them; the rest follows from the config."""
    return {"step": self.step, "opt_state": self.opt_state}


def create_feeds(
  setup: Setup, num_devices: int, part: dataset_lib.Part = dataset_lib.WHOLE
) -> list[pipeline.Feed]:
  """Returns the training data of each run; runs of equal order share theirs.

  Args:
    setup: of the runs.
    num_devices: over which a batch is spread.
    part: of each batch that is wanted.
  """
  made: dict[Hashable, pipeline.Feed] = {}
  feeds = []
  for i, (run, dataset) in enumerate(
    zip(setup.runs, setup.datasets, strict=True)
  ):
    # The order of resident examples does not depend on their labels.
    examples = dataset.key("train") if setup.is_streamed else dataset.examples
    key = run.seed, examples
    if key not in made:
      made[key] = _create_feed(setup, i, num_devices, part)
    feeds.append(made[key])
  return feeds


def _create_feed(
  setup: Setup,
  index: int,
  num_devices: int,
  part: dataset_lib.Part = dataset_lib.WHOLE,
) -> pipeline.Feed:
  run, dataset = setup.runs[index], setup.datasets[index]
  buckets = None
  if run.bucket_batches:
    sizes = setup.sizes(dataset, "train")
    buckets = bucketing.Buckets(sizes, run.bucket_batches)
  return pipeline.create_feed(
    dataset.splits["train"],
    seed=run.seed,
    batch_size=run.batch_size,
    num_devices=num_devices,
    buckets=buckets,
    part=part,
  )


def create_states(
  setup: Setup, weights: dict[str, PyTree] | None = None
) -> list[TrainState]:
  """Returns the state of every run before the first step; they share arrays.

  Args:
    setup: of the runs.
    weights: 'params' and 'model_state' to start from, and to prune; None: new
      ones, drawn from the seed.
  """
  init = _initializer(setup)
  init_optimizer = jax.jit(setup.optimizer.init)
  gradient = jax.jit(functools.partial(_batch_gradient, setup=setup))
  starts: dict[Hashable, TrainState] = {}
  states = []
  for i, run in enumerate(setup.runs):
    # What the initial state depends on, of all that differs between runs.
    key = run.seed, run.sparsity, setup.datasets[i].key("train")
    if key not in starts:
      start = _create_run(setup, i, init, gradient, weights)
      # Compiled as a whole: its small programs take longer, one by one.
      starts[key] = start.replace(opt_state=init_optimizer(start.params))
    hparams = {
      name: jnp.asarray(run[name], jnp.result_type(float))
      for name in ("rho", "learning_rate", "weight_decay")
    }
    states.append(starts[key].replace(hparams=hparams))
  return states


def _create_run(
  setup: Setup,
  index: int,
  init: Callable[..., Any],
  gradient: Callable[..., PyTree],
  weights: dict[str, PyTree] | None,
) -> TrainState:
  """Returns the state of one run, but for optimizer and hyper-parameters."""
  run = setup.runs[index]
  new, mask_key, step_key = init(np.int32(run.seed), _init_inputs(setup, index))
  weights = weights or new
  params, model_state = weights["params"], weights["model_state"]

  mask = None
  if setup.prunes:
    grads = None
    if run.pruner == "snip":
      grads = gradient(params, model_state, _first_batch(setup, index))
    mask = masks.create(
      run.pruner,
      params,
      run.sparsity,
      key=mask_key,
      grads=grads,
      magnitude_scope=run.magnitude_scope,
    )
    # Zero from the start, or weight decay would move pruned weights.
    params = jax.jit(masks.apply)(params, mask)
    model_state = centred.recentre(model_state, params)
  return TrainState(
    step=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=None,
    mask=mask,
    rng=step_key,
    hparams={},
  )


def _init_inputs(setup: Setup, index: int) -> np.ndarray:
  """Returns what the model of a run is initialized with, not normalized.

  Models read its shape alone, but for Sim-BN, which keeps it: its statistics
  are those of the whole training set.
  """
  if setup.config.normalization == "sim_bn":
    split = setup.datasets[index].splits["train"]
    assert isinstance(split, dataset_lib.ArraySplit)  # `base.check` says so.
    return split.inputs
  return np.zeros((1, *setup.dataset.input_shape), np.result_type(float))


def _initializer(
  setup: Setup,
) -> Callable[..., tuple[dict[str, PyTree], jax.Array, jax.Array]]:
  """Returns (seed, inputs) -> what a run begins with, compiled once.

  That is 'params' and 'model_state', the key of its mask, and of its steps.
  """

  @jax.jit
  def init(seed, inputs):
    # One key per purpose.
    init_key, mask_key, step_key = jax.random.split(jax.random.key(seed), 3)
    inputs = setup.dataset.normalize(inputs)
    variables = dict(setup.model.init(init_key, inputs, train=False))
    weights = {"params": variables.pop("params"), "model_state": variables}
    return weights, mask_key, step_key

  return init


def abstract_weights(
  setup: Setup, sharding: jax.sharding.Sharding | None = None
) -> dict[str, PyTree]:
  """Returns shapes, dtypes and shardings of the weights of one run."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
    jax.eval_shape(_initializer(setup), np.int32(0), _init_inputs(setup, 0))[0],
  )


def count_parameters(
  state: TrainState, num_runs: int = 1
) -> list[dict[str, int]]:
  """Returns the number of parameters of each run, and of those not pruned."""
  total = sum(x.size for x in jax.tree.leaves(state.params)) // num_runs
  masks_of_runs = run_axis.unstack(jax.device_get(state.mask), num_runs)
  return [
    {
      "num_parameters": total,
      "num_unpruned_parameters": total
      - sum(int(np.sum(~m)) for m in jax.tree.leaves(mask)),
    }
    for mask in masks_of_runs
  ]


def _first_batch(setup: Setup, index: int) -> dict[str, jax.Array]:
  """Returns the batch of step 0 of a run, [1, B, ...]."""
  feed = _create_feed(setup, index, num_devices=1).take(0, 1, pad_to=1)
  whole = jax.tree.map(lambda x: np.concatenate(x[:, 0]), feed)
  split = setup.datasets[index].splits["train"]
  resident = {}
  if isinstance(split, dataset_lib.ArraySplit):
    resident = {
      "inputs": split.inputs,
      "targets": split.targets,
      "first_row": 0,
    }
  batch = pipeline.batch_from(resident, whole)
  inputs = setup.dataset.normalize(jnp.asarray(batch["inputs"]))
  return jax.tree.map(lambda x: x[None], batch | {"inputs": inputs})


def _batch_gradient(
  params: PyTree, model_state: PyTree, batch: PyTree, *, setup: Setup
) -> PyTree:
  """Returns the gradient of the mean loss of a batch [1, B, ...]."""

  def mean_loss(params, batch):
    return setup.loss_fn(params, model_state, batch, jax.random.key(0))[0]

  # BatchNorm over all devices is BatchNorm over this one whole batch.
  grad = jax.vmap(jax.grad(mean_loss), (None, 0), axis_name=AXIS)
  return jax.tree.map(lambda g: g[0], grad(params, batch))
