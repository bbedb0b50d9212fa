"""Keeps what Orbax prints from those who run a program.

Its threads log tracebacks of what `save` and `restore` raise as well, some
after these have returned; and what is still being written then finds no one to
tell.
It warns of a file that it does not need, wherever weights are read.
"""

import functools
import logging
import os
import sys
from typing import Any


@functools.cache
def set_up() -> None:
  """Hides it from now on."""
  logging.getLogger("absl").addFilter(_is_told)
  before = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
      before(unraisable)

  sys.unraisablehook = hook


def _is_told(record: logging.LogRecord) -> bool:
  is_orbax = f"{os.sep}orbax{os.sep}" in record.pathname
  return record.levelno < logging.WARNING or not is_orbax
