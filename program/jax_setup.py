"""What must be set before JAX starts, for every entrance to the program.

No other module changes an option of JAX.
"""

import glob
import os
import pathlib
import re
from typing import Any
import warnings

from program.cli import fail

# Each device compiles programs of its own.
MAX_CPU_DEVICES = 8
_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def default_cpu_devices() -> int:
  """Returns to how many CPU devices runs are spread: the cores, at most 8."""
  if hasattr(os, "sched_getaffinity"):
    num_cores = len(os.sched_getaffinity(0))
  else:
    num_cores = os.cpu_count() or 1  # macOS.
  return min(num_cores, MAX_CPU_DEVICES)


def fix_draws() -> None:
  """Lets JAX draw the random numbers of which runs are made.

  The default, partitionable ones take JAX 0.10 and XLA's CPU backend long to
  compile: 23 s instead of 5 s for the weights of a ResNet-18.
  """
  import jax

  jax.config.update("jax_threefry_partitionable", False)


def _drop_damaged_programs() -> None:
  """Deletes what JAX cannot read of its cache, so that it is written anew.

  JAX itself only warns, and compiles again each time.
  """
  import jax

  show = warnings.showwarning
  begin = "Error reading persistent compilation cache entry for"

  def delete(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    match = re.match(f"{begin} '(.*?)'", str(message))
    folder = jax.config.values["jax_compilation_cache_dir"]
    if not match or not folder:
      show(message, *args, **kwargs)
      return
    # The warning does not tell which program of this name it is.
    for path in pathlib.Path(folder).glob(f"{glob.escape(match[1])}-*-cache"):
      path.unlink(missing_ok=True)

  warnings.filterwarnings("always", message=begin)
  warnings.showwarning = delete


def set_up(
  *,
  float64: bool,
  deterministic: bool = False,
  spread_runs: bool = False,
  num_cpu_devices: int | None = None,
  preallocate: bool = True,
) -> None:
  """Sets up JAX, whose devices must not have been used yet.

  Args:
    float64: whether numbers have 64 bits.
    deterministic: whether XLA's GPU programs must repeat their bits.
    spread_runs: whether every CPU core (of at most 8) is a device, to which the
      runs of a sweep are spread; else all cores are one.
    num_cpu_devices: to which they are spread; None: one for each core.
    preallocate: whether JAX may take most of a GPU's memory at once; else it is
      left to the programs that this one starts.
  """
  if deterministic:
    os.environ["XLA_FLAGS"] = (
      os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    )
  import jax

  jax.config.update("jax_enable_x64", float64)
  fix_draws()
  # A shell may ask for other random bits, which a resumed run cannot go on
  # with, or make errors of mixed types.
  jax.config.update("jax_default_prng_impl", "threefry2x32")
  jax.config.update("jax_numpy_dtype_promotion", "standard")
  if spread_runs:
    # One program for small matrices keeps no more than a core busy.
    jax.config.update(
      "jax_num_cpu_devices",
      num_cpu_devices or default_cpu_devices(),
    )
  # So that a shell loop compiles once.
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(cache):  # Else there is no home.
      jax.config.update(
        "jax_compilation_cache_dir", os.path.join(cache, "sam-overparam")
      )
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
  _drop_damaged_programs()
  before = os.environ.get(_PREALLOCATE)
  if not preallocate:
    os.environ[_PREALLOCATE] = "false"
  try:
    jax.devices()
  except RuntimeError as e:
    fail(f"JAX finds no device ({e})")
  finally:
    if before is not None:
      os.environ[_PREALLOCATE] = before
    else:
      os.environ.pop(_PREALLOCATE, None)
