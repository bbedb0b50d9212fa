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


# What else fields are called.
ALIASES = {
  "lr": ("learning_rate",),
  "wd": ("weight_decay",),
  "epochs": ("num_epochs",),
  "steps": ("num_train_steps",),
  "bs": ("batch_size",),
  "width": ("num_neurons", "num_filters", "hidden_size"),
  "depth": ("num_layers", "blocks_per_stage", "message_passing_steps"),
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
  if name.startswith("sweep."):
    hint = _hint_of_sweep(name)
  else:
    close = list(ALIASES.get(name, ()))
    close = close or difflib.get_close_matches(name, FIELDS, n=1)
    meant = " or ".join(map(repr, close))
    hint = f"did you mean {meant}?" if close else "see configs/fields/"
  return f"config.{name}: there is no such field; {hint}"


def _hint_of_sweep(name: str) -> str:
  """Returns what may be meant by a field that no sweep has."""
  bare = name.removeprefix("sweep.")
  meant = ALIASES.get(bare, (bare,))
  if f"sweep.{meant[0]}" in FIELDS:
    return f"did you mean 'sweep.{meant[0]}'?"
  if meant[0] in (*ALIASES["width"], *ALIASES["depth"]):
    return (
      "the runs of a sweep have one shape; several are a study's (study.py) or"
      " a shell loop's (scripts/width_sweep.sh)"
    )
  swept = [n.removeprefix("sweep.") for n, f in FIELDS.items() if f.each]
  close = difflib.get_close_matches(bare, swept, n=1)
  if close and bare not in FIELDS:
    return f"did you mean 'sweep.{close[0]}'?"
  return f"a sweep has {', '.join(swept)}"


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
