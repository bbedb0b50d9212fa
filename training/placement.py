"""Where runs are trained: which runs in one call, and on which devices."""

from collections.abc import Sequence
import dataclasses
import functools

import jax
import ml_collections
import numpy as np

from configs import errors
from configs import reading
from configs import sweep
from training import hosts as hosts_lib

# The mapped axis of devices.
AXIS = "batch"
DEFAULT_STEPS_PER_CALL = 32
# Runs that are vmapped at once on a CPU: more do not fit into its cache.
MAX_RUNS_PER_CPU_CALL = 20


@dataclasses.dataclass(frozen=True)
class Placement:
  """The runs that one call trains, and the devices that share them.

  Attributes:
    runs: their indices in the sweep; in a loop, one.
    devices: over which each batch is spread, or the runs are.
    rows: how many runs each device has, if they are spread; 0: they are not.
    hosts: the processes that the devices are of.
  """

  runs: tuple[int, ...]
  devices: tuple[jax.Device, ...]
  rows: int = 0
  hosts: hosts_lib.Hosts = hosts_lib.ALONE

  @property
  def num_runs(self) -> int:
    return len(self.runs)

  @property
  def num_vmapped(self) -> int:
    """The number of runs that a device trains at once."""
    return self.rows or self.num_runs

  @property
  def num_devices(self) -> int:
    """Over how many devices each batch is spread."""
    return 1 if self.rows else len(self.devices)

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
    return self._sharding()

  @functools.cached_property
  def of_runs(self) -> jax.sharding.Sharding:
    """How it wants what runs have of their own."""
    return self._sharding(AXIS) if self.rows else self.replicated

  def _sharding(self, *axes: str) -> jax.sharding.Sharding:
    # What a process gives to `jax.pmap`, and gets, is its own part.
    mine = self.hosts.mine(self.devices)
    mesh = jax.sharding.Mesh(np.array(mine), (AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))

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
  convolutional: bool,
  hosts: hosts_lib.Hosts = hosts_lib.ALONE,
) -> list[Placement]:
  """Returns the parts of a run, or of a sweep, that are trained by one call.

  Args:
    config: with its sweep.
    devices: all there are.
    streamed: whether the training set is.
    convolutional: whether the model is.
    hosts: the processes that the devices are of.
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
    mode = "loop" if convolutional or streamed else "vmap"
  if mode == "loop":
    return [
      Placement((run,), places[run % len(places)], hosts=hosts)
      for run in range(num_runs)
    ]
  num_parts = 1
  if devices[0].platform == "cpu":
    num_parts = -(-num_runs // (len(places) * MAX_RUNS_PER_CPU_CALL))
  # A program that all devices share is compiled once.
  is_spread = size == 1 and len(places) > 1 and num_runs > 1
  if not is_spread:
    num_parts = min(num_parts * len(places), num_runs)
  parts = np.array_split(np.arange(num_runs), num_parts)
  rows = -(-len(parts[0]) // len(places)) if is_spread else 0
  return [
    Placement(
      tuple(part.tolist()),
      tuple(devices[: -(-len(parts[0]) // rows)])
      if is_spread
      else places[i % len(places)],
      rows,
      hosts,
    )
    for i, part in enumerate(parts)
  ]


def steps_per_call(
  config: ml_collections.ConfigDict, *, streamed: bool, convolutional: bool
) -> int:
  """Returns the training steps in one call to the device."""
  if config.steps_per_call:
    return config.steps_per_call
  # XLA's CPU backend runs convolutions 5 to 8 times slower inside a loop.
  slow_loop = convolutional and jax.default_backend() == "cpu"
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
  parts = c.gradient_accumulation
  if per_device % parts:
    raise errors.ConfigError(
      f"config.gradient_accumulation={parts}: must divide the {per_device}"
      f" examples of a device (config.batch_size={c.batch_size} over {spread})"
    )
  m = c.microbatch_size if c.optimizer == "sam" else 0
  if m and per_device % m:
    raise errors.ConfigError(
      f"config.microbatch_size={m}: must divide the {per_device} examples of a"
      f" device (config.batch_size={c.batch_size} over {spread})"
    )
