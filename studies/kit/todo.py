"""The cells of a study that are left to do, and how they are done in turn."""

import abc
from collections.abc import Callable, Sequence
import pathlib
import sys
import time
from typing import Any

import pandas as pd
import tqdm

from program import signals
from run_folder import disk
from studies.kit import timing
import train


class Work(abc.ABC):
  """Does the cells of a study that are not over.

  Attributes:
    workdir: folder of the study.
    stop: see `run`.
    todo: the cells that are not over, since `plan`.
    estimates: the estimated seconds of each of them, by its name.
  """

  def __init__(
    self,
    cells: Sequence[Any],
    workdir: pathlib.Path,
    stop: signals.Stop,
  ):
    self._cells = cells
    self.workdir = workdir
    self.stop = stop
    self.todo: list[Any] = []
    self.estimates: dict[str, float] = {}

  @abc.abstractmethod
  def num_runs(self, cell: Any) -> int:
    """Returns the rows of a cell in the table."""

  @abc.abstractmethod
  def is_over(self, cell: Any) -> bool:
    """Whether a cell is over.

    Raises:
      RunError: the folder of the cell holds another.
    """

  @abc.abstractmethod
  def _estimate(self) -> dict[str, timing.Estimate]:
    """Returns what each cell that is left takes, by its name."""

  @abc.abstractmethod
  def do_cell(self, cell: Any, show: Callable[[float], None]) -> None:
    """Does a cell.

    Args:
      cell: to be done.
      show: is told which fraction of the cell is over.

    Raises:
      Stopped: a signal came.
    """

  @abc.abstractmethod
  def num_diverged(self, cell: Any) -> int:
    """Returns how many runs of a cell that is over diverged."""

  @abc.abstractmethod
  def _rows(self, cell: Any) -> pd.DataFrame:
    """Returns the rows of a cell that is over, without its labels."""

  def folder(self, cell: Any) -> pathlib.Path:
    return self.workdir / "cells" / cell.name

  def plan(self, seconds: float | None = None) -> None:
    """Says what is to be done, and how long it may take.

    Args:
      seconds: of each cell, if another process has estimated them.
    """
    disk.refuse_links(self.workdir, ["cells"])
    disk.refuse_links(self.workdir / "cells", [c.name for c in self._cells])
    self.todo = [c for c in self._cells if not self.is_over(c)]
    estimates = (
      self._estimate()
      if seconds is None
      else {c.name: timing.Estimate(seconds) for c in self.todo}
    )
    self.estimates = {name: e.seconds for name, e in estimates.items()}
    num_runs = sum(map(self.num_runs, self._cells))
    done = len(self._cells) - len(self.todo)
    print(f"study folder: {self.workdir}")
    print(
      f"{num_runs:,} runs in {len(self._cells)} cells"
      + (f", {done} of them over" if done else "")
    )
    total = timing.text(sum(self.estimates.values()))
    flops = sum(e.flops for e in estimates.values())
    work = f", {flops:.1e} floating-point operations" if flops else ""
    print(f"estimated time: {total}{work}", flush=True)

  def do(self) -> int:
    """Does them one after another; returns the exit code, 0 if all is over."""
    clock = timing.Clock(list(self.estimates.values()))
    bar = progress_bar(len(self.todo))
    for number, cell in enumerate(self.todo, 1):
      if self.stop.number:
        break
      estimate = self.estimates[cell.name]
      bar.set_description(f"{cell.name} ")

      def show(fraction: float, number=number, estimate=estimate) -> None:
        bar.n = number - 1 + fraction
        left = timing.text(clock.seconds_left(fraction * estimate))
        bar.set_postfix_str(f"{left} left")

      start = time.monotonic()
      try:
        self.do_cell(cell, show)
      except train.Stopped as e:
        bar.close()
        print(f"{cell.name}: {e}; the same command resumes", flush=True)
        return self.stop.exit_code
      seconds = time.monotonic() - start
      clock.over(estimate, seconds)
      bar.clear()
      self.report(number, cell, seconds, clock.seconds_left())
    bar.close()
    if self.stop.number:  # As a cell was finished.
      print("stopped; the same command resumes", flush=True)
      return self.stop.exit_code
    return 0

  def report(self, number: int, cell: Any, seconds: float, left: float) -> None:
    """Prints that a cell is over.

    Args:
      number: of the cells that are over now, of those that were left.
      cell: that is over.
      seconds: that it took.
      left: seconds that the others may take.
    """
    diverged = self.num_diverged(cell)
    print(
      f"[{number}/{len(self.todo)}] {cell.name}: {self.num_runs(cell)} runs"
      f" in {timing.text(seconds)}"
      + (f", {diverged} diverged" if diverged else "")
      + f"; {timing.text(left)} left",
      flush=True,
    )

  def table(self, cells: Sequence[Any]) -> pd.DataFrame:
    """Returns a row for each run: its record, labels and measurements.

    Args:
      cells: that are over.
    """
    tables = [self._rows(c).assign(**dict(c.labels)) for c in cells]
    return pd.concat(tables, ignore_index=True)


def progress_bar(num_cells: int) -> tqdm.tqdm:
  """Returns a bar over cells, which only a terminal shows."""
  return tqdm.tqdm(
    total=num_cells,
    unit="cell",
    disable=not sys.stderr.isatty(),
    leave=False,
    bar_format="{desc}{percentage:3.0f} %|{bar}| {postfix}",
  )
