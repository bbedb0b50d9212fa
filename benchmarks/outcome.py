"""What every benchmark states, and how it leaves its numbers."""

from collections.abc import Mapping
import json
import os
import pathlib
import platform
from typing import Any

import jax


def device() -> str:
  """Returns what ran: the accelerator, or the CPU and its cores."""
  if jax.default_backend() != "cpu":
    return jax.devices()[0].device_kind
  return f"{os.cpu_count()} CPU cores ({_processor()})"


def _processor() -> str:
  """Returns the name of the processor, where Linux tells it."""
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  names = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
  return names[0] if names else platform.processor()


def write(path: str, record: Mapping[str, Any]) -> None:
  """Writes numbers as JSON, with the device and the version of JAX."""
  out = pathlib.Path(path)
  out.parent.mkdir(parents=True, exist_ok=True)
  stated = {"device": device(), "jax": jax.__version__}
  out.write_text(json.dumps(stated | dict(record), indent=2) + "\n")
