"""What a process has where another one has the run folder: nothing.

Training calls the same methods in all processes; here they do nothing.
"""

from collections.abc import Sequence
from typing import Any

from run_folder.disk import Record


class Folder:
  """Stands for `files.RunFolder`."""

  path = None
  num_lines = 0

  def lines(self, last_step: int | None = None) -> Sequence[Record]:
    return ()

  def keep_lines_up_to(self, step: int) -> None: ...

  def append(self, line: Record) -> None: ...

  def sync(self) -> None: ...

  def finish(self, record: Record) -> None: ...

  def close(self) -> None: ...


class Checkpoints:
  """Stands for `checkpoints.Checkpoints`."""

  def restore_newest(self, *what: Any) -> None: ...

  def save(self, *what: Any) -> None: ...

  def wait(self) -> None: ...

  def close(self) -> None: ...


class Progress:
  """Stands for `progress.Progress`."""

  def __init__(
    self, first_step: int, num_steps: int, steps_per_epoch: int
  ) -> None: ...

  def step(self, step: int) -> None: ...

  def evaluated(self, *what: Any) -> None: ...

  def close(self) -> None: ...
