"""How a program ends: unread, or by a signal once it saved."""

from collections.abc import Callable
import os
import signal
import sys
from typing import Any


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
