"""What tables and figures call columns, metrics and numbers."""

import numbers
from typing import Any

from analysis import selection


def words(name: str) -> str:
  """Returns the name of a column in words."""
  return name.replace("num_", "number of ").replace("_", " ")


def metric(name: str) -> str:
  """Returns the name of a metric, with its unit."""
  return words(name) + (" (%)" if selection.scale(name) == 100 else "")


def gain(name: str) -> str:
  """Returns the name of the gain in a metric, positive where SAM is better."""
  if name.endswith("loss"):
    return f"decrease of {words(name)} by SAM"
  unit = " (points)" if selection.scale(name) == 100 else ""
  return f"gain in {words(name)}{unit}"


def number(value: float) -> str:
  """Returns a short text: 6.7k, 266k or 5.4M for a large number."""
  for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
    if value >= 0.9995 * size:
      digits = 0 if value >= 9.95 * size else 1
      return f"{value / size:.{digits}f}".removesuffix(".0") + unit
  return f"{value:g}"


def value(of: Any) -> str:
  """Returns the value of a column as text."""
  is_number = isinstance(of, numbers.Real) and not isinstance(of, bool)
  return number(of) if is_number else str(of)
