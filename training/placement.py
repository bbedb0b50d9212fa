"""Where runs are trained: which runs in one call, and on which devices."""

from collections.abc import Sequence
import dataclasses
import functools

import jax
import ml_collections
import numpy as np

from configs import errors
from configs import kinds
from configs import reading
from configs import sweep

# The mapped axis of devices.
AXIS = "batch"
DEFAULT_STEPS_PER_CALL = 32
# Runs that are vmapped at once on a CPU: more do not fit into its cache.
MAX_RUNS_PER_CPU_CALL = 20


@dataclasses.dataclass(frozen=True)
class Placement:
  """The runs that one call trains, and the devices that share their batches.

  Attributes:
    runs: their indices in the sweep; in a loop, one.
    devices: over which each batch is spread.
  """

  runs: tuple[int, ...]
  devices: tuple[jax.Device, ...]

  @property
  def num_runs(self) -> int:
    return len(self.runs)

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

  @functools.cached_property
  def replicated(self) -> jax.sharding.Sharding:
    """How the pmapped step wants what all devices share."""
    mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

  @property
  def serialize_calls(self) -> bool:
    """Whether to wait for every call before the next.

    With several devices on CPU, collectives of steps in flight can dead-lock.
    """
    return self.num_devices > 1 and jax.default_backend() == "cpu"


def create(
  config: ml_collections.ConfigDict,
  devices: Sequence[jax.Device],
  *,
  streamed: bool,
) -> list[Placement]:
  """Returns the parts of a run, or of a sweep, that are trained by one call.

  Args:
    config: with its sweep.
    devices: all there are.
    streamed: whether the training set is.
  """
  num_runs = len(sweep.runs(config))
  # A run is also evaluated where there are fewer devices.
  size = min(devices_per_run(config, len(devices)), len(devices))
  places = [
    tuple(devices[i : i + size])
    for i in range(0, len(devices) - size + 1, size)
  ]
  mode = config.sweep_mode
  if mode == "auto":
    mode = "loop" if is_convolutional(config) or streamed else "vmap"
  num_parts = num_runs
  if mode == "vmap":
    calls = 1
    if devices[0].platform == "cpu":
      calls = -(-num_runs // (len(places) * MAX_RUNS_PER_CPU_CALL))
    num_parts = min(calls * len(places), num_runs)
  return [
    Placement(tuple(part.tolist()), places[i % len(places)])
    for i, part in enumerate(np.array_split(np.arange(num_runs), num_parts))
  ]


def is_convolutional(config: ml_collections.ConfigDict) -> bool:
  return config.model in kinds.CONVOLUTIONAL_MODELS


def steps_per_call(config: ml_collections.ConfigDict, *, streamed: bool) -> int:
  """Returns the training steps in one call to the device."""
  if config.steps_per_call:
    return config.steps_per_call
  # XLA's CPU backend runs convolutions 5 to 8 times slower inside a loop.
  slow_loop = is_convolutional(config) and jax.default_backend() == "cpu"
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


def check(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Raises `ConfigError` if the batch does not fit the devices.

  Args:
    config: with its sweep.
    num_devices: all there are.
  """
  c = config
  spread = devices_per_run(c, num_devices)
  if spread > num_devices:
    raise errors.ConfigError(
      f"config.devices_per_run={spread}: must be <= the {num_devices} of this"
      " host"
    )
  per_device, remainder = divmod(c.batch_size, spread)
  if remainder:
    raise errors.ConfigError(
      f"config.batch_size={c.batch_size}: must be a multiple of the"
      f" {spread} devices"
    )
  m = c.microbatch_size if c.optimizer == "sam" else 0
  if m and per_device % m:
    raise errors.ConfigError(
      f"config.microbatch_size={m}: must divide the {per_device} examples of a"
      f" device (config.batch_size={c.batch_size} over {spread})"
    )
