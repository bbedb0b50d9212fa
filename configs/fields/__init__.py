"""Every config field: its default, unit, meaning and allowed values.

There is a table a section. Their order is that of `--help`, and of the fields
in the name and the identity of a run.
"""

from collections.abc import Mapping
import difflib
import textwrap
from typing import Any

from configs import errors
from configs.fields import cadence
from configs.fields import data
from configs.fields import loss
from configs.fields import model
from configs.fields import optimization
from configs.fields import pruning
from configs.fields import runs
from configs.fields import sam
from configs.fields.field import Field

FIELDS: dict[str, Field] = {
  **data.FIELDS,
  **model.FIELDS,
  **loss.FIELDS,
  **optimization.FIELDS,
  **sam.FIELDS,
  **pruning.FIELDS,
  **runs.FIELDS,
  **cadence.FIELDS,
}


def check(name: str, value: Any) -> None:
  """Raises `ConfigError` if there is no such field, or its value is wrong."""
  if name not in FIELDS or not FIELDS[name].accepts(value):
    raise errors.ConfigError(wrong_value(name, value))


def wrong_value(name: str, value: Any) -> str:
  """Returns the error line for a value that a field does not accept."""
  if name not in FIELDS:
    return unknown_field(name)
  return f"config.{name}={value!r}: must be {FIELDS[name].allowed()}"


def unknown_field(name: str) -> str:
  """Returns the error line for a field that does not exist."""
  close = difflib.get_close_matches(name, FIELDS, n=1)
  hint = f"did you mean {close[0]!r}?" if close else "see configs/fields/"
  return f"config.{name}: there is no such field; {hint}"


def describe(config: Mapping[str, Any]) -> str:
  """Returns every field with its value, its meaning and what it accepts."""
  lines = []
  for name, field in FIELDS.items():
    lines.append(f"  --config.{name}={config[name]!r}")
    text = f"{field.doc} ({field.allowed()})"
    lines += textwrap.wrap(
      text, 78, initial_indent=" " * 6, subsequent_indent=" " * 6
    )
  return "\n".join(lines)
