"""Which fields a run reads."""

from collections.abc import Iterable, Mapping
from typing import Any

from configs import fields
from configs import sweep


def base_optimizer(config: Mapping[str, Any]) -> str:
  """Returns what updates the weights: 'sgd', 'adam' or 'adamw'."""
  if config["optimizer"] == "sam":
    return config["base_optimizer"]
  return config["optimizer"]


def is_read(name: str, config: Mapping[str, Any]) -> bool:
  """Whether a run with this config reads the field `name` at all."""
  return _is_read(name, config, sweep.swept(config))


def all_read(config: Mapping[str, Any]) -> set[str]:
  """Returns the fields that a run with this config reads."""
  lists = sweep.swept(config)
  return {name for name in fields.FIELDS if _is_read(name, config, lists)}


def _is_read(
  name: str, config: Mapping[str, Any], lists: Mapping[str, tuple[Any, ...]]
) -> bool:
  field = fields.FIELDS[name]
  if name in lists or (field.each and name.removeprefix("sweep.") not in lists):
    return False

  def can_be(other: str) -> Iterable[Any]:
    if other == "base":
      return (base_optimizer(config),)
    return (
      (bool(lists),) if other == "sweep" else lists.get(other, (config[other],))
    )

  return all(
    any(value in values for value in can_be(other))
    for other, values in (field.each or field).read_if.items()
  )
