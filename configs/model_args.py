"""The fields of a model of one's own, as `config.model_args` writes them."""

import ast
from typing import Any

from configs import errors

ALLOWED = "must be keywords with constants, such as \"width=64, act='relu'\""


def parse(text: str) -> dict[str, Any]:
  """Returns the values by name: 'width=64' gives {'width': 64}.

  Lists become tuples.

  Raises:
    ConfigError: it is written in another way.
  """
  try:
    call = ast.parse(f"dict({text})", mode="eval").body
    if (
      not isinstance(call, ast.Call)
      or not isinstance(call.func, ast.Name)
      or call.args
    ):
      raise ValueError("no keywords")
    values = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    if len(values) < len(call.keywords):
      raise ValueError("**")
  except (SyntaxError, ValueError, TypeError) as e:
    raise errors.ConfigError(f"config.model_args={text!r}: {ALLOWED}") from e
  return {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in values.items()
  }


def is_valid(text: str) -> bool:
  """Whether `parse` takes it."""
  try:
    parse(text)
  except errors.ConfigError:
    return False
  return True


def numbers(text: str) -> dict[str, float]:
  """Returns the values that are numbers, such as widths."""
  return {
    name: value
    for name, value in parse(text).items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
  }


def without_numbers(text: str) -> str:
  """Returns the others, as a text again."""
  left_out = numbers(text)
  return ", ".join(
    f"{name}={value!r}"
    for name, value in parse(text).items()
    if name not in left_out
  )
