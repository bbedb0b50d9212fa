"""What a config file starts from: `get_config()`, every field at its default.

A workload's config file overrides what differs. The fields, with unit, meaning
and allowed values, are in configs/fields/, a file a section. A wrong value is
refused where it is set, and values that contradict each other by `check`.
Nothing here imports JAX or TensorFlow, so that this takes less than a second.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from configs import errors
from configs import fields
from configs import sweep
from configs.check import check as check


class _Config(ml_collections.ConfigDict):
  """Refuses a wrong value, or an unknown field, where it is set.

  `config["sweep.rho"]` reads as `config.sweep.rho`.
  """

  def __setitem__(self, name: str, value: Any) -> None:
    if name != "sweep":
      fields.check(name, value)
      value = fields.FIELDS[name].resolve(value)
    elif not isinstance(value, Mapping | ml_collections.ConfigDict):
      raise errors.ConfigError(
        f"config.sweep={value!r}: set its fields, as in config.sweep.rho"
      )
    super().__setitem__(name, value)


def get_config() -> ml_collections.ConfigDict:
  """Returns a config that has every field at its default."""
  flat = {n: f.default for n, f in fields.FIELDS.items() if not f.each}
  return _Config(flat | {"sweep": sweep.empty()})
