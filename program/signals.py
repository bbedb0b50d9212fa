"""How a program runs, and ends: unread, or by a signal once it saved."""

from collections.abc import Callable
import logging
import os
import signal
import sys
from typing import Any
import warnings


def _silence_libraries() -> None:
  """Hides what libraries tell those who write a program from who runs it.

  Else such lines come and go with the machine: without a home folder that can
  be written, or with a GPU. PYTHONWARNINGS would even make errors of them.
  """
  warnings.simplefilter("ignore")
  if logging.lastResort is not None:  # It prints what nobody else handles.
    logging.lastResort.setLevel(logging.ERROR)


def run(main: Callable[[], None]) -> None:
  """Runs a program; it ends quietly when nobody reads on, as in `| head`."""
  _silence_libraries()
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
