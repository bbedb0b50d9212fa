"""What a model needs to know of a data set, without its examples.

A run folder keeps it, so that a trained model can be used where its data is
not.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from data import dataset
from data import graphs

_PLAIN = {"identity": dataset.identity, "token_ids": dataset.token_ids}


@dataclasses.dataclass(frozen=True)
class Task:
  """The part of a `Dataset` that has no examples.

  Attributes:
    name: see `Dataset`, as for those that follow.
    input_shape: of one raw input.
    num_outputs: of a model.
    num_classes: None for regression.
    labels_per_example: see `Dataset`.
    vocabulary_size: of sequences.
    padding: of sequences.
    normalize: raw inputs -> inputs of the model; None: a function that cannot
      be written down.
  """

  name: str
  input_shape: tuple[int, ...]
  num_outputs: int
  num_classes: int | None
  labels_per_example: float | None
  vocabulary_size: int | None
  padding: int | None
  normalize: dataset.Normalize | None


_NAMES = [f.name for f in dataclasses.fields(Task) if f.name != "normalize"]


def of(data: dataset.Dataset) -> Task:
  """Returns what is known of a data set."""
  known = data.normalize if _record(data.normalize) else None
  return Task(**{n: getattr(data, n) for n in _NAMES}, normalize=known)


def to_json(task: Task) -> dict[str, Any]:
  """Returns a JSON value from which `from_json` returns the same."""
  record = {name: getattr(task, name) for name in _NAMES}
  return record | {"normalize": _record(task.normalize)}


def from_json(record: Mapping[str, Any]) -> Task:
  """Returns what was written.

  Raises:
    KeyError, TypeError, ValueError: something else was.
  """
  values = {name: record[name] for name in _NAMES}
  values["input_shape"] = tuple(values["input_shape"])
  return Task(**values, normalize=_normalize(record["normalize"]))


def _record(normalize: dataset.Normalize | None) -> dict[str, Any] | None:
  for kind, function in _PLAIN.items():
    if normalize is function:
      return {"kind": kind}
  if isinstance(normalize, dataset.Scaled):
    return {"kind": "scaled", **dataclasses.asdict(normalize)}
  layout = getattr(normalize, "__self__", None)
  if isinstance(layout, graphs.Layout):
    return {"kind": "graphs", **dataclasses.asdict(layout)}
  return None


def _normalize(record: Mapping[str, Any] | None) -> dataset.Normalize | None:
  if record is None:
    return None
  kind = record["kind"]
  values: dict[str, Any] = {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in record.items()
    if name != "kind"
  }
  if kind == "scaled":
    return dataset.Scaled(**values)
  if kind == "graphs":
    return graphs.Layout(**values).unpack
  return _PLAIN[kind]
