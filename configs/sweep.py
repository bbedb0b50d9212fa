"""What a sweep lists, and the runs of which it is the product."""

from collections.abc import Mapping
import itertools
from typing import Any

import ml_collections

from configs import fields

# What a sweep can list values of, in the order of its product.
SWEPT = tuple(
  name.removeprefix("sweep.") for name, f in fields.FIELDS.items() if f.each
)


class _Sweep(ml_collections.ConfigDict):
  """The values of the swept fields; refuses a wrong one where it is set."""

  def __setitem__(self, name: str, value: Any) -> None:
    fields.check(f"sweep.{name}", value)
    super().__setitem__(name, value)


def empty() -> ml_collections.ConfigDict:
  """Returns `config.sweep` of a run alone: no field has values."""
  return _Sweep({name: () for name in SWEPT})


def swept(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
  """Returns the values of every swept field; of a run alone, nothing."""
  sweep = config.get("sweep", {})
  values = {name: tuple(sweep.get(name, ())) for name in SWEPT}
  return {name: v for name, v in values.items() if v}


def points(config: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the swept values of every run; of a run alone, an empty dict.

  They are the product of the swept values, the last field of `SWEPT` fastest.
  """
  values = swept(config)
  return [
    dict(zip(values, chosen, strict=True))
    for chosen in itertools.product(*values.values())
  ]


def runs(config: ml_collections.ConfigDict) -> list[ml_collections.ConfigDict]:
  """Returns the config of every run of a sweep; of a run alone, its own."""
  if not swept(config):
    return [config]
  # Filled in plain dicts, since a config checks every value that is set.
  flat = dict(config.items())
  return [
    ml_collections.ConfigDict(flat | point | {"sweep": empty()})
    for point in points(config)
  ]
