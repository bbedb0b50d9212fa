"""A strict environment: two devices, no silent rank promotion."""

import atexit
import os
import shutil
import tempfile

# Before JAX starts: collectives are only tested where there are two devices.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
# As experiment.py sets it, also where nothing imports that.
jax.config.update("jax_threefry_partitionable", False)

# Tests compile the same programs again and again, if only to initialize.
_cache = tempfile.mkdtemp(prefix="jax-cache-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
