"""A config, and everything that is built from it before training."""

from collections.abc import Sequence
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
from configs import reading
from configs import sweep
from configs.fields import optimization
from data import bucketing
from data import dataset as dataset_lib
from data import pipeline
import models
from sam import optimizer
from sam import schedule
from training import losses
from training import metrics

# The default, partitionable random numbers take JAX 0.10 and XLA's CPU backend
# long to compile: 23 s instead of 5 s for the weights of a ResNet-18.
jax.config.update("jax_threefry_partitionable", False)

# The mapped axis of devices.
AXIS = "batch"
DEFAULT_STEPS_PER_CALL = 32
# Runs that are vmapped at once on a CPU: more do not fit into its cache.
MAX_RUNS_PER_CPU_CALL = 20


@dataclasses.dataclass(frozen=True, repr=False)  # JAX prints what it maps.
class Experiment:
  """A config with all that is built from it before training.

  Attributes:
    config: what its runs share; where they differ, `runs` says.
    runs: the config of each run: one, or those of a sweep.
    datasets: the data set of each run.
    devices: what they are trained on.
  """

  config: ml_collections.ConfigDict
  runs: tuple[ml_collections.ConfigDict, ...]
  datasets: tuple[dataset_lib.Dataset, ...]
  model: models.Model
  loss_fn: losses.LossFn
  eval_loss_fn: losses.LossFn
  optimizer: optax.GradientTransformationExtraArgs
  rho_schedule: schedule.Schedule
  schedule: schedule.Schedule
  steps_per_epoch: int
  num_steps: int
  devices: tuple[jax.Device, ...]

  @property
  def dataset(self) -> dataset_lib.Dataset:
    """What the data sets of the runs have in common: all but the examples."""
    return self.datasets[0]

  @property
  def num_devices(self) -> int:
    return len(self.devices)

  @property
  def sync_axis(self) -> str | None:
    """The axis over which devices share what they find; None: there is one.

    XLA keeps the collectives of a single device, and on a CPU they take longer
    than a small step.
    """
    return AXIS if self.num_devices > 1 else None

  @property
  def is_stacked(self) -> bool:
    """Whether state, metrics and data have a leading axis of runs."""
    return len(self.runs) > 1

  @property
  def run_axis_size(self) -> int | None:
    return len(self.runs) if self.is_stacked else None

  @property
  def is_convolutional(self) -> bool:
    return self.config.model in kinds.CONVOLUTIONAL_MODELS

  @functools.cached_property
  def prunes(self) -> bool:
    """Whether there are masks; those of a dense run in a sweep keep all."""
    lists = sweep.swept(self.config)
    return any(lists.get("sparsity", (self.config.sparsity,)))

  def split(self) -> list["Experiment"]:
    """Returns the parts that are trained by one call each.

    A part has the devices that share a batch, and the runs that are mapped over
    there; in a loop, one.
    """
    c = self.config
    # A run is also evaluated where there are fewer devices.
    size = min(devices_per_run(c, self.num_devices), self.num_devices)
    places = [
      self.devices[i : i + size]
      for i in range(0, self.num_devices - size + 1, size)
    ]
    num_runs = len(self.runs)
    streamed = isinstance(self.dataset.splits["train"], dataset_lib.StreamSplit)
    mode = c.sweep_mode
    if mode == "auto":
      mode = "loop" if self.is_convolutional or streamed else "vmap"
    num_parts = num_runs
    if mode == "vmap":
      calls = 1
      if self.devices[0].platform == "cpu":
        calls = -(-num_runs // (len(places) * MAX_RUNS_PER_CPU_CALL))
      num_parts = min(calls * len(places), num_runs)
    return [
      dataclasses.replace(
        self,
        runs=tuple(self.runs[r] for r in part),
        datasets=tuple(self.datasets[r] for r in part),
        devices=places[i % len(places)],
      )
      for i, part in enumerate(np.array_split(np.arange(num_runs), num_parts))
    ]

  @property
  def _metric_names(self) -> tuple[str, ...]:
    return losses.metric_names(self.config, self.dataset)

  @functools.cached_property
  def train_metrics(self) -> metrics.Collection:
    return metrics.train_collection(self._metric_names)

  @functools.cached_property
  def eval_metrics(self) -> metrics.Collection:
    return metrics.eval_collection(self._metric_names)

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
  def replicated(self) -> jax.sharding.Sharding:
    """How the pmapped step wants what all devices share."""
    mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

  def create_feed(
    self, made: dict[tuple[int, int], pipeline.Feed] | None = None
  ) -> pipeline.Feed:
    """Returns the training data on its way to the step.

    Args:
      made: the feeds of single runs that other parts made, to share and extend.
    """
    made = {} if made is None else made
    feeds = []
    for run, dataset in zip(self.runs, self.datasets, strict=True):
      split = dataset.splits["train"]
      # The order of resident examples does not depend on their labels.
      key = run.seed, id(split)
      if isinstance(split, dataset_lib.ArraySplit):
        key = run.seed, id(split.inputs)
      if key not in made:
        buckets = None
        if run.bucket_batches:
          buckets = bucketing.Buckets(self.sizes(split), run.bucket_batches)
        made[key] = pipeline.create_feed(
          split,
          seed=run.seed,
          batch_size=run.batch_size,
          num_devices=self.num_devices,
          buckets=buckets,
        )
      feeds.append(made[key])
    return pipeline.StackedFeed(feeds) if self.is_stacked else feeds[0]

  def sizes(self, split: dataset_lib.Split) -> np.ndarray:
    """Returns the trimmed size of each example, [N, K]; K = 0: as it is."""
    if not self.config.bucket_batches:
      return np.empty((split.num_examples, 0), int)
    trimming = self.dataset.trimming
    assert isinstance(split, dataset_lib.ArraySplit), "a stream is not trimmed"
    assert trimming is not None, f"{self.dataset.name} is not trimmed"
    return trimming.sizes(split.inputs)

  def resident(self, split: str) -> Any:
    """Returns what of a split stays on the device."""
    return pipeline.resident_arrays([d.splits[split] for d in self.datasets])

  @property
  def serialize_calls(self) -> bool:
    """Whether to wait for every call before the next.

    With several devices on CPU, collectives of steps in flight can dead-lock.
    """
    return self.num_devices > 1 and jax.default_backend() == "cpu"

  @property
  def steps_per_call(self) -> int:
    """Training steps in one call to the device."""
    if self.config.steps_per_call:
      return self.config.steps_per_call
    streamed = isinstance(self.dataset.splits["train"], dataset_lib.StreamSplit)
    # XLA's CPU backend runs convolutions 5 to 8 times slower inside a loop.
    slow_loop = self.is_convolutional and jax.default_backend() == "cpu"
    return 1 if streamed or slow_loop else DEFAULT_STEPS_PER_CALL


def devices_per_run(config: ml_collections.ConfigDict, num_devices: int) -> int:
  """Returns over how many devices the batch of a run is spread."""
  return config.devices_per_run or (1 if sweep.swept(config) else num_devices)


def perturbation_batch(
  config: ml_collections.ConfigDict, num_devices: int
) -> int:
  """Returns how many examples share a perturbation of SAM's: m.

  Args:
    config: of a run; one of the base optimizer as if it were SAM's.
    num_devices: over which its batch is spread.
  """
  if config.microbatch_size and reading.is_read("microbatch_size", config):
    return config.microbatch_size
  return config.batch_size // (1 if config.sync_perturbation else num_devices)


def create(
  config: ml_collections.ConfigDict,
  datasets: dataset_lib.Dataset | Sequence[dataset_lib.Dataset],
  devices: Sequence[jax.Device] | None = None,
) -> Experiment:
  """Builds what training needs.

  Args:
    config: every field of configs/fields/.
    datasets: from `data.load`, or of a sweep, from `data.load_runs`.
    devices: what to train on; None: all devices of this host.

  Raises:
    ConfigError: the config does not fit the data, or the devices.
  """
  c = config
  if isinstance(datasets, dataset_lib.Dataset):
    datasets = (datasets,)
  dataset = datasets[0]
  devices = tuple(devices or jax.local_devices())
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
  model = models.create(c, dataset)
  steps_per_epoch = num_train // c.batch_size
  num_steps = schedule.num_train_steps(c, steps_per_epoch)
  if num_steps > optimization.MAX_STEPS:
    raise errors.ConfigError(
      f"config.num_epochs={c.num_epochs}: must be <="
      f" {optimization.MAX_STEPS // steps_per_epoch},"
      " since steps are counted in int32"
    )
  return Experiment(
    config=c,
    runs=tuple(sweep.runs(c)),
    datasets=tuple(datasets),
    model=model,
    loss_fn=losses.create(c, model, dataset),
    eval_loss_fn=losses.create(c, model, dataset, train=False),
    optimizer=optimizer.create(c, steps_per_epoch),
    schedule=schedule.create(c, steps_per_epoch),
    rho_schedule=schedule.create_rho(c, steps_per_epoch),
    steps_per_epoch=steps_per_epoch,
    num_steps=num_steps,
    devices=devices,
  )


def check_batch(exp: Experiment) -> None:
  """Raises `ConfigError` if the batch does not fit the devices, or SAM."""
  c = exp.config
  num_devices = devices_per_run(c, exp.num_devices)
  if num_devices > exp.num_devices:
    raise errors.ConfigError(
      f"config.devices_per_run={num_devices}: must be <= the {exp.num_devices}"
      " of this host"
    )
  per_device, remainder = divmod(c.batch_size, num_devices)
  if remainder:
    raise errors.ConfigError(
      f"config.batch_size={c.batch_size}: must be a multiple of the"
      f" {num_devices} devices"
    )
  if c.optimizer != "sam":
    return
  if c.microbatch_size and per_device % c.microbatch_size:
    raise errors.ConfigError(
      f"config.microbatch_size={c.microbatch_size}: must divide the"
      f" {per_device} examples of a device (config.batch_size={c.batch_size}"
      f" over {num_devices})"
    )
  if not exp.sam_steps:
    raise errors.ConfigError(
      f"config.sam_end={c.sam_end}: leaves no step to SAM after"
      f" config.sam_begin={c.sam_begin} in {exp.num_steps} steps"
    )
