"""Orbax's threads log tracebacks of what they raise as well."""

from collections.abc import Iterator
import contextlib
import logging
import os


def _is_not_orbax(record: logging.LogRecord) -> bool:
  return f"{os.sep}orbax{os.sep}" not in record.pathname


@contextlib.contextmanager
def errors_hidden() -> Iterator[None]:
  """Hides what Orbax logs, while it saves or restores."""
  logger = logging.getLogger("absl")
  logger.addFilter(_is_not_orbax)
  try:
    yield
  finally:
    logger.removeFilter(_is_not_orbax)
