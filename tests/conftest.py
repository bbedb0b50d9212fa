"""A strict environment: two CPU devices, no silent rank promotion."""

import atexit
import os
import shutil
import tempfile

# Tests and the programs that they start see none of what a shell has set for
# these. Workers inherit what is set here.
if "PYTEST_XDIST_WORKER" not in os.environ:
  for _name in list(os.environ):
    if _name.startswith(("JAX_", "XLA_", "TF_", "TFDS_")):
      del os.environ[_name]
  # Tests compile the same programs again and again, if only to initialize.
  _cache = tempfile.mkdtemp(prefix="jax-cache-")
  atexit.register(shutil.rmtree, _cache, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
# CPUs repeat their bits; collectives are only tested where there are two.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import pytest

from models import resnet
from program import jax_setup

jax.config.update("jax_numpy_rank_promotion", "raise")
jax_setup.fix_draws()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def short_resnets(monkeypatch):
  """ResNets of two stages, which compile in half the time."""
  for variant in resnet.STAGES:
    monkeypatch.setitem(resnet.STAGES, variant, (1, 1))


@pytest.fixture(scope="module", autouse=True)
def _forget():
  """Compiled programs of all modules would take 6 GB."""
  yield
  jax.clear_caches()
