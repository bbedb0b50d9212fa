"""How a program ends: for wrong input, unread, or by a signal once it saved."""

import argparse
from collections.abc import Callable
import os
import signal
import sys
from typing import Any, NoReturn


def fail(message: str) -> NoReturn:
  """Ends the program for wrong input: one line, exit code 2."""
  print("error: " + " ".join(message.split()), file=sys.stderr)
  sys.exit(2)


class Parser(argparse.ArgumentParser):
  """Ends the program for a wrong flag as for other wrong input."""

  def __init__(self, description: str | None):
    super().__init__(
      description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message: str) -> NoReturn:
    fail(message)


def run(main: Callable[[], None]) -> None:
  """Runs a program; it ends quietly when nobody reads on, as in `| head`."""
  try:
    try:
      main()
    finally:
      sys.stdout.flush()
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


class StopSignal:
  """While it is entered, notes the first of these signals.

  The second one does not wait.

  Attributes:
    number: of the signal that came; 0: none.
  """

  def __init__(self) -> None:
    self.number = 0
    self._before: dict[int, Any] = {}

  def __enter__(self) -> "StopSignal":
    for number in (signal.SIGTERM, signal.SIGINT):
      self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *error: Any) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number: int, frame: Any) -> None:
    del frame
    self.number = number
    signal.signal(number, signal.SIG_DFL)

  @property
  def exit_code(self) -> int:
    return 128 + self.number
