"""Ctrl-C and SIGTERM end training after it saved."""

import signal
from typing import Any


class StopSignal:
  """Notes the first of these signals; the second one does not wait.

  Attributes:
    number: of the signal that came; 0: none.
  """

  def __init__(self) -> None:
    self.number = 0
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, self._note)

  def _note(self, number: int, frame: Any) -> None:
    del frame
    self.number = number
    signal.signal(number, signal.SIG_DFL)

  @property
  def exit_code(self) -> int:
    return 128 + self.number
