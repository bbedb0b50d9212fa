"""A strict environment: two CPU devices, no silent rank promotion."""

from collections.abc import Callable
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

from tests import kept_programs

# Tests and the programs that they start see none of what a shell has set for
# these. Workers inherit what is set here.
if "PYTEST_XDIST_WORKER" not in os.environ:
  for _name in list(os.environ):
    if _name.startswith(("JAX_", "XLA_", "TF_", "TFDS_")):
      del os.environ[_name]
  # Tests compile the same programs again and again, if only to initialize.
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(kept_programs.folder())
  # Thousands of programs take less than a tenth of a second each.
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  os.environ["SAM_OVERPARAM_DATA_CACHE"] = "off"
if os.environ.get("SAM_OVERPARAM_TEST_ON") == "accelerator":
  # On what JAX finds, with a CPU's float32. Programs are too small to tune.
  os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "float32"
  os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # Workers share it.
else:
  # CPUs repeat their bits; collectives are only tested where there are two.
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import pytest

from models import resnet
from program import jax_setup
from tests import entrance

jax.config.update("jax_numpy_rank_promotion", "raise")
jax_setup.fix_draws()

# Programs do not inherit that signals are ignored, as behind `nohup` and `&`.
for _number, _handler in (
  (signal.SIGINT, signal.default_int_handler),
  (signal.SIGHUP, signal.SIG_DFL),
):
  if signal.getsignal(_number) == signal.SIG_IGN:
    signal.signal(_number, _handler)


@pytest.fixture
def short_resnets(monkeypatch):
  """ResNets of two stages, which compile in half the time."""
  for variant in resnet.STAGES:
    monkeypatch.setitem(resnet.STAGES, variant, (1, 1))


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Callable[..., entrance.Outcome]:
  """Starts main.py; with `jax=False`, it must not even import JAX."""
  no_jax = tmp_path_factory.mktemp("no_jax")
  for name in ("jax", "numpy", "tensorflow"):
    (no_jax / f"{name}.py").write_text("raise RuntimeError('imported')\n")

  def start_(
    *args: str, cwd: pathlib.Path, jax: bool = False, devices: int = 1
  ) -> entrance.Outcome:
    env = os.environ | {
      "JAX_LOG_COMPILES": "1",
      "JAX_PLATFORMS": "cpu",
      # What Python leaves beside a config is not the program's.
      "PYTHONDONTWRITEBYTECODE": "1",
      "PYTHONPATH": "" if jax else str(no_jax),
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    done = subprocess.run(
      [sys.executable, str(entrance.ROOT / "main.py"), *args],
      cwd=cwd,
      env=env,
      capture_output=True,
      text=True,
      timeout=entrance.PATIENCE,
    )
    return entrance.Outcome(done.returncode, done.stdout, done.stderr)

  return start_


@pytest.fixture
def refused(start, tmp_path) -> Callable[..., str]:
  """Starts main.py on wrong input and returns its one line, less 'error: '."""

  def refused_(*args: str, **kwargs: Any) -> str:
    before = entrance.snapshot(tmp_path)
    done = start(*args, cwd=tmp_path, **kwargs)
    assert entrance.snapshot(tmp_path) == before, "something was written"
    lines = done.err.splitlines()
    compiled = [line for line in lines if "Compiling" in line]
    assert not compiled
    # JAX also logs what is only traced, for its shapes.
    lines = [line for line in lines if "Finished tracing" not in line]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert done.out == ""
    assert done.code == 2
    return lines[0].removeprefix("error: ")

  return refused_


@pytest.fixture
def config_file(tmp_path) -> Callable[[str], pathlib.Path]:
  """Writes a config file whose get_config() ends with the given lines."""

  def write(lines: str) -> pathlib.Path:
    path = tmp_path / "mine.py"
    path.write_text(
      "from configs import base\n\n\ndef get_config():\n"
      f"  config = base.get_config()\n{lines}\n"
    )
    return path

  return write


@pytest.fixture(scope="module", autouse=True)
def _forget():
  """Compiled programs of all modules would take 6 GB."""
  yield
  jax.clear_caches()
