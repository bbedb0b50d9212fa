"""A config, and everything that is built from it before training."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from configs import errors
from configs import kinds
from configs import model_args
from configs import sweep
from configs.fields import field
from data import dataset as dataset_lib
import models
from models import own
from sam import masks
from sam import schedule as schedule_lib
from training import losses
from training import metrics
from training import optimization
from training import perturbed


@dataclasses.dataclass(frozen=True, repr=False)  # JAX prints what it maps.
class Setup:
  """A config with all that is built from it before training.

  It knows of no device; `placement` says where its runs are trained.

  Attributes:
    config: what its runs share; where they differ, `runs` says.
    runs: the config of each run: one, or those of a sweep.
    datasets: the data set of each run.
    optimizer: of `sam.optimizer`.
    schedule: step -> factor on the learning rate.
    rho_schedule: step -> factor on rho.
    num_steps: length of training.
  """

  config: ml_collections.ConfigDict
  runs: tuple[ml_collections.ConfigDict, ...]
  datasets: tuple[dataset_lib.Dataset, ...]
  model: models.Model
  loss_fn: losses.LossFn
  eval_loss_fn: losses.LossFn
  optimizer: optax.GradientTransformationExtraArgs
  schedule: schedule_lib.Schedule
  rho_schedule: schedule_lib.Schedule
  steps_per_epoch: int
  num_steps: int

  @property
  def dataset(self) -> dataset_lib.Dataset:
    """What the data sets of the runs have in common: all but the examples."""
    return self.datasets[0]

  @property
  def is_streamed(self) -> bool:
    train = self.dataset.splits["train"]
    return isinstance(train, dataset_lib.StreamSplit)

  @functools.cached_property
  def prunes(self) -> bool:
    """Whether there are masks; those of a dense run in a sweep keep all."""
    return any(run.sparsity for run in self.runs)

  @functools.cached_property
  def perturbs(self) -> Callable[[str], bool] | None:
    """Path of a parameter -> whether SAM perturbs it; None: all are."""
    c = self.config
    if not (c.perturb_only or c.perturb_except):
      return None

    return perturbed.predicate(c, self.abstract_params)

  @functools.cached_property
  def abstract_params(self) -> Any:
    """The parameters of one run, as shapes and dtypes."""

    def init() -> Any:
      inputs = self.dataset.normalize(jnp.zeros((1, *self.dataset.input_shape)))
      return self.model.init(jax.random.key(0), inputs, train=False)

    return jax.eval_shape(init)["params"]

  @functools.cached_property
  def is_convolutional(self) -> bool:
    """Whether XLA's CPU backend runs the model slowly in loops."""
    if not kinds.is_own_model(self.config.model):
      return self.config.model in kinds.CONVOLUTIONAL_MODELS
    inputs = self.dataset.normalize(jnp.zeros((1, *self.dataset.input_shape)))
    init = functools.partial(self.model.init, train=False)
    return "conv_general_dilated" in str(
      jax.make_jaxpr(init)(jax.random.key(0), inputs)
    )

  @property
  def metric_names(self) -> tuple[str, ...]:
    """The names of the per-example values."""
    return losses.metric_names(self.config, self.dataset)

  @functools.cached_property
  def sam_steps(self) -> range:
    """The steps that ascend before they descend."""
    c = self.config
    if c.optimizer != "sam":
      return range(0)
    return range(
      round(c.sam_begin * self.num_steps), round(c.sam_end * self.num_steps)
    )

  @functools.cached_property
  def train_metrics(self) -> metrics.Collection:
    return metrics.train_collection(self.metric_names)

  @functools.cached_property
  def eval_metrics(self) -> metrics.Collection:
    return metrics.eval_collection(self.metric_names)

  def sizes(self, dataset: dataset_lib.Dataset, split: str) -> np.ndarray:
    """Returns the trimmed size of each example, [N, K]; K = 0: as it is."""
    if not self.config.bucket_batches:
      return np.empty((dataset.splits[split].num_examples, 0), int)
    return dataset.sizes(split)


def create_model(
  config: ml_collections.ConfigDict, dataset: models.Task
) -> models.Model:
  """Returns the model that a config names; see `models.create`.

  Raises:
    ConfigError: it is one of the user's own, and cannot be used.
  """
  try:
    return models.create(config, dataset, model_args.parse(config.model_args))
  except own.Unusable as e:
    raise errors.ConfigError(str(e)) from e


def _check_own_model(
  c: ml_collections.ConfigDict,
  model: models.Model,
  dataset: dataset_lib.Dataset,
) -> None:
  """Raises `ConfigError` unless a model maps inputs to outputs of the data."""
  path, _, name = c.model.rpartition(":")
  size = 2

  def call() -> tuple[jax.Array, Any]:
    key = jax.random.key(0)
    inputs = dataset.normalize(jnp.zeros((size, *dataset.input_shape)))
    variables = model.init(key, inputs, train=False)
    outputs, _ = model.apply(
      variables,
      inputs,
      train=True,
      rngs={"dropout": key},
      mutable=list(losses.CHANGING),
    )
    return outputs, variables.get("params", {})

  try:
    outputs, params = jax.eval_shape(call)
  except Exception as e:  # Whatever the module raises.
    raise errors.ConfigError(
      f"config.model={c.model!r}: {own.blame(e, path)}"
    ) from e
  words = dataset.input_shape if c.dataset in kinds.TAGGED_DATASETS else ()
  want = (size, *words, dataset.num_outputs)
  if outputs.shape != want:
    raise errors.ConfigError(
      f"config.model={c.model!r}: {name} returns shape {outputs.shape} for"
      f" {size} inputs; must be {want}"
    )
  dtypes = {x.dtype.name for x in jax.tree.leaves(params)}
  if wrong := sorted(dtypes - {"float32", "float64"}):
    raise errors.ConfigError(
      f"config.model={c.model!r}: {name} has parameters in {wrong[0]}; must be"
      " float32 or float64 (param_dtype of a layer)"
    )
  if not dtypes:
    raise errors.ConfigError(
      f"config.model={c.model!r}: {name} has no parameters to train"
    )


def create(
  config: ml_collections.ConfigDict,
  datasets: dataset_lib.Dataset | Sequence[dataset_lib.Dataset],
) -> Setup:
  """Builds what training needs.

  Args:
    config: with every field of configs/fields/.
    datasets: from `data.load`, or of a sweep, from `data.load_runs`.

  Raises:
    ConfigError: the config does not fit the data.
    RuntimeError: JAX is not set up, and would draw other random numbers.
  """
  if jax.config.values["jax_threefry_partitionable"]:
    raise RuntimeError(
      "JAX would draw other random numbers than those of which runs are made:"
      " call program.jax_setup.set_up() first"
    )
  c = config
  if isinstance(datasets, dataset_lib.Dataset):
    datasets = (datasets,)
  dataset = datasets[0]
  num_train = dataset.splits["train"].num_examples
  _check(c, dataset)
  model = create_model(c, dataset)
  if kinds.is_own_model(c.model):
    _check_own_model(c, model, dataset)
  steps_per_epoch = num_train // c.batch_size
  num_steps = optimization.num_train_steps(c, steps_per_epoch)
  if num_steps > field.MAX_INT:
    most = field.MAX_INT // steps_per_epoch
    raise errors.ConfigError(
      f"config.num_epochs={c.num_epochs}: must be <= {most}, since steps are"
      " counted in int32"
    )
  schedule = optimization.create_schedule(c, steps_per_epoch)
  setup = Setup(
    config=c,
    datasets=tuple(datasets),
    model=model,
    loss_fn=losses.create(c, model, dataset),
    eval_loss_fn=losses.create(c, model, dataset, train=False),
    schedule=schedule,
    rho_schedule=optimization.create_rho_schedule(c, steps_per_epoch),
    optimizer=optimization.create_optimizer(c, schedule),
    runs=tuple(sweep.runs(c)),
    steps_per_epoch=steps_per_epoch,
    num_steps=num_steps,
  )
  if c.optimizer == "sam" and not setup.sam_steps:
    raise errors.ConfigError(
      f"config.sam_end={c.sam_end}: leaves no step to SAM after"
      f" config.sam_begin={c.sam_begin} in {num_steps} steps"
    )
  if c.optimizer == "sam":
    _ = setup.perturbs  # Raises what is wrong with the patterns.
  if setup.prunes and not masks.has_kernels(setup.abstract_params):
    sparsity = max(run.sparsity for run in setup.runs)
    raise errors.ConfigError(
      f"config.sparsity={sparsity}: must be 0 with config.model={c.model!r},"
      " which has no parameter named kernel"
    )
  return setup


def _check(c: ml_collections.ConfigDict, dataset: dataset_lib.Dataset) -> None:
  """Raises `ConfigError` if the config does not fit the data, or JAX."""
  num_train = dataset.splits["train"].num_examples
  if c.validation_fraction and "validation" not in dataset.splits:
    raise errors.ConfigError(
      f"config.validation_fraction={c.validation_fraction}: must be 0, or hold"
      f" out at least one of the {num_train} training examples of {c.dataset}"
    )
  if c.batch_size > num_train:
    raise errors.ConfigError(
      f"config.batch_size={c.batch_size}: must be <= the {num_train} training"
      f" examples of {c.dataset}"
    )
  sides = dataset.input_shape[:2]
  if c.model == "vit" and any(side % c.patch_size for side in sides):
    raise errors.ConfigError(
      f"config.patch_size={c.patch_size}: must divide the sides of the"
      f" {sides[0]}x{sides[1]} images of {c.dataset}"
    )
  if (c.dtype == "float64") != (jnp.result_type(float) == jnp.float64):
    raise errors.ConfigError(
      f"config.dtype={c.dtype!r}: 'float64', and no other, needs JAX's"
      " jax_enable_x64, which main.py sets"
    )
