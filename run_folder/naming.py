"""The names of runs: of their folders, and of each in its sweep."""

from collections.abc import Iterable
import hashlib
import os
import re
from typing import Any

import ml_collections

from configs import fields
from configs import kinds
from configs import reading
from configs import sweep

MAX_NAME = 180

_IN_EVERY_NAME = ("dataset", "model", "optimizer")


def run_name(
  config: ml_collections.ConfigDict, overrides: Iterable[str]
) -> str:
  """Returns the default name of a run's folder.

  It states data set, model, width, optimizer, rho, seed and every field in
  `overrides` that the run reads and that changes its trajectory.

  Args:
    config: the resolved config.
    overrides: names of the fields that were set by flag.
  """
  parts = [config.dataset, _value("model", config.model)]
  stated = set(_IN_EVERY_NAME)
  widths = (("num_neurons", "n"), ("num_filters", "f"), ("hidden_size", "d"))
  for field, prefix in widths:
    if reading.is_read(field, config):
      parts.append(prefix + _in_name(config[field]))
      stated.add(field)
  parts.append(config.optimizer)
  for field in ("rho", "seed"):
    if reading.is_read(field, config):
      parts.append(field + _in_name(config[field]))
      stated.add(field)
  sweeps = {f"sweep.{name}" for name in sweep.swept(config)}
  parts += [
    f"{name}={_value(name, config[name])}"
    for name in sorted(sweeps | set(overrides) - stated)
    if reading.is_read(name, config) and not fields.FIELDS[name].cadence
  ]
  name = "-".join(parts)
  if len(name) > MAX_NAME:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    name = f"{name[:MAX_NAME]}-{digest}"
  return name


def _value(name: str, value: Any) -> str:
  if fields.FIELDS[name].is_path or kinds.is_own_model(value):
    # As short as the run's own folder, which is below this one, too.
    below = os.path.relpath(value)
    value = value if below.startswith(os.pardir) else below
  return _in_name(value)


def _in_name(value: Any) -> str:
  if isinstance(value, (tuple, list)):
    return "x".join(f"{v:g}" for v in value) or "0"
  text = f"{value:g}" if isinstance(value, float) else str(value)
  return re.sub(r"[^\w.+-]+", "_", text)


def run_names(config: ml_collections.ConfigDict) -> list[str]:
  """Returns the name of every run of a sweep; that of a run alone is ''."""
  return [
    "-".join(f"{name}={value:.15g}" for name, value in point.items())
    for point in sweep.points(config)
  ]


def is_step(name: str) -> bool:
  """Whether a file is named by a step; '0027' and '٢' are other names."""
  return name.isdecimal() and name == str(int(name))
