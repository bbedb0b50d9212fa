"""One config field, and what it accepts."""

from collections.abc import Container, Mapping
import dataclasses
import os
from typing import Any

from configs import kinds


class Positive:
  """The numbers above 0."""

  def __contains__(self, value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


class NotEmpty:
  """The tuples with entries."""

  def __contains__(self, value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 0


# JAX counts steps and examples, and indexes arrays, in int32.
MAX_INT = 2**31 - 1
# Above 3.4e38, numbers are infinite in float32, in which a run computes.
MAX_FLOAT = 1e38
# Between two layers that are wider, a kernel would have more than 4 TB.
MAX_WIDTH = 2**20
# Each layer, ascent step, or entry of a tuple (a layer or a stage) is compiled
# on its own, in a second or so.
MAX_DEPTH = 1000
# Each has memory of its own, of megabytes.
MAX_GAMES = 10_000
_OWN = ", or a Flax module of your own, as PATH.py:NAME"
# Of the entries of tuples.
_PLURAL = {int: "integers", float: "finite numbers"}
_EXAMPLE = {int: ', such as "(300,100)"', float: ', such as "(0.25,0.5)"'}


@dataclasses.dataclass(frozen=True)
class Field:
  """One config field.

  Attributes:
    default: value in `get_config()`; its type is the type of the field.
    doc: meaning and unit.
    choices: the allowed values, if they can be listed.
    minimum: smallest allowed value (of each entry, for a tuple).
    maximum: largest allowed value; None: that of its kind (`MAX_INT`,
      `MAX_FLOAT`), unless there is `below`.
    above: the value must be larger than this (an open lower end).
    below: the value must be smaller than this (an open upper end).
    read_if: field -> values: the field is read only if each of these fields
      has one of these values; 'base' is what updates the weights, 'sweep'
      whether there is one. A field that is not read does not enter the name of
      a run, and setting it by flag prints a warning.
    cadence: whether the field leaves the trajectory of the run as it is. Such
      a field may differ when a run is resumed.
    each: the field of which this one, a tuple, lists different values.
    entries: kind of the entries of a tuple, int or float.
    takes_own: whether it also takes PATH.py:NAME, a class in a file.
    is_path: whether it is a file, whose path is made absolute where it is set.
  """

  default: Any
  doc: str
  choices: tuple[str, ...] = ()
  minimum: float | None = None
  maximum: float | None = None
  above: float | None = None
  below: float | None = None
  read_if: Mapping[str, Container[Any]] = dataclasses.field(
    default_factory=dict
  )
  cadence: bool = False
  each: "Field | None" = None
  entries: type = int
  takes_own: bool = False
  is_path: bool = False

  @property
  def kind(self) -> type:
    return type(self.default)

  @property
  def _largest(self) -> float | None:
    """The largest allowed value (of each entry), of a numeric field."""
    if self.maximum is not None or self.below is not None:
      return self.maximum
    kind = self.entries if self.kind is tuple else self.kind
    return {int: MAX_INT, float: MAX_FLOAT}.get(kind)

  def allowed(self) -> str:
    """Returns what the field accepts, in words."""
    if self.each:
      return f"a tuple of different values, each {self.each.allowed()}"
    if self.choices:
      listed = "one of " + ", ".join(repr(c) for c in self.choices)
      return listed + (_OWN if self.takes_own else "")
    noun = {
      int: "an integer",
      float: "a finite number",
      bool: "True or False",
      str: "a text",
      tuple: f"a tuple of {_PLURAL[self.entries]}",
    }[self.kind]
    ends = [
      (self.minimum, ">="),
      (self.above, ">"),
      (self._largest, "<="),
      (self.below, "<"),
    ]
    bounds = [f"{sign} {end:.10g}" for end, sign in ends if end is not None]
    example = _EXAMPLE[self.entries] if self.kind is tuple else ""
    number = f", at most {MAX_DEPTH} of them" if self.kind is tuple else ""
    return f"{noun} {' and '.join(bounds)}".strip() + example + number

  def accepts(self, value: Any) -> bool:
    """Whether `value` has the right type and lies in the allowed range."""
    if self.each:
      return (
        isinstance(value, (tuple, list))
        and all(self.each.accepts(v) for v in value)
        and len(set(value)) == len(value)
      )
    if self.kind is tuple:
      return (
        isinstance(value, (tuple, list))
        and len(value) <= MAX_DEPTH
        and all(self._is_number(v, self.entries) for v in value)
      )
    if self.kind in (int, float):
      return self._is_number(value, self.kind)
    if self.choices:
      return value in self.choices or self._is_own(value)
    return isinstance(value, self.kind)

  def resolve(self, value: Any) -> Any:
    """Returns a value as it is kept: the same wherever a process is started."""
    if (self.is_path and value) or self._is_own(value):
      return os.path.abspath(os.path.expanduser(value))
    return value

  def _is_own(self, value: Any) -> bool:
    return self.takes_own and kinds.is_own_model(value)

  def _is_number(self, value: Any, kind: type) -> bool:
    is_float = kind is float and isinstance(value, float)
    if not (_is_int(value) or is_float):
      return False
    return self._in_range(value)

  def _in_range(self, value: float) -> bool:
    # No comparison holds of NaN.
    return (
      (self.minimum is None or value >= self.minimum)
      and (self._largest is None or value <= self._largest)
      and (self.above is None or value > self.above)
      and (self.below is None or value < self.below)
    )


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)
