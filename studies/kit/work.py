"""Does the cells of a study: trains and measures them, or computes them.

Each cell has a folder. The same call resumes; cells that are over are not
trained, measured or computed again.
"""

import abc
from collections.abc import Callable, Sequence
import contextlib
import json
import os
import pathlib
import sys
import time
from typing import Any

import jax
import pandas as pd
import tqdm

from analysis import restored
from analysis import table as table_lib
from configs import sweep
import data
from program import signals
from run_folder import disk
from run_folder import files
from run_folder import tensorboard
from studies.kit import conclusion
from studies.kit import timing
from studies.kit.study import ComputedCell
from studies.kit.study import Study
from studies.kit.study import TrainedCell
import train
from training import placement

# A cell that should take less is saved at its end alone.
SHORT_SECONDS = 120
# What a cell's folder holds beside its runs: lines of what was measured, or
# all that was computed.
MEASURES = "measures.jsonl"
COMPUTED = "computed.json"


def run(
  study: Study,
  cells: Sequence[Any],
  workdir: pathlib.Path,
  *,
  data_dir: str | None = None,
  stop: signals.Stop | None = None,
  estimate_only: bool = False,
) -> int:
  """Does cells of a study and concludes; returns the exit code.

  Args:
    study: whose cells they are.
    cells: all of a preset, or those of some workloads.
    workdir: folder of the study.
    data_dir: see `data.load`.
    stop: is told while there is something to save, and asked whether to stop;
      None: nothing stops it.
    estimate_only: whether only to say what is left and how long it takes.

  Raises:
    UserError: data is missing, or a folder holds something else.
  """
  work: Work
  stop = stop or signals.Stop()
  if study.compute is None:
    work = Training(study, cells, workdir, data_dir, stop)
  else:
    work = Computing(study.compute, study.compute_seconds, cells, workdir, stop)
  work.plan()
  if estimate_only:
    return 0
  if code := work.do():
    return code
  conclusion.write(study, work.table(), workdir)
  return 0


class Work(abc.ABC):
  """Does the cells of a study that are not over."""

  def __init__(
    self,
    cells: Sequence[Any],
    workdir: pathlib.Path,
    stop: signals.Stop,
  ):
    self._cells = cells
    self._workdir = workdir
    self._stop = stop

  @abc.abstractmethod
  def _num_runs(self, cell: Any) -> int:
    """Returns the rows of a cell in the table."""

  @abc.abstractmethod
  def _is_over(self, cell: Any) -> bool:
    """Raises `RunError` if the folder of the cell holds another."""

  @abc.abstractmethod
  def _estimate(self) -> dict[str, float]:
    """Returns the estimated seconds of each cell that is left."""

  @abc.abstractmethod
  def _do(self, cell: Any, show: Callable[[float], None]) -> int:
    """Does a cell; returns how many of its runs diverged.

    Args:
      cell: to be done.
      show: is told which fraction of the cell is over.

    Raises:
      Stopped: a signal came.
    """

  @abc.abstractmethod
  def _rows(self, cell: Any) -> pd.DataFrame:
    """Returns the rows of a cell that is over, without its labels."""

  def folder(self, cell: Any) -> pathlib.Path:
    return self._workdir / "cells" / cell.name

  def plan(self) -> None:
    """Says what is to be done, and how long it may take."""
    disk.refuse_links(self._workdir, ["cells"])
    disk.refuse_links(self._workdir / "cells", [c.name for c in self._cells])
    self._todo = [c for c in self._cells if not self._is_over(c)]
    self._estimates = self._estimate()
    num_runs = sum(map(self._num_runs, self._cells))
    done = len(self._cells) - len(self._todo)
    print(f"study folder: {self._workdir}")
    print(
      f"{num_runs:,} runs in {len(self._cells)} cells"
      + (f", {done} of them over" if done else "")
    )
    seconds = sum(self._estimates.values())
    print(f"estimated time: {timing.text(seconds)}", flush=True)

  def do(self) -> int:
    """Does all cells; returns the exit code, 0 if all is over."""
    clock = timing.Clock(list(self._estimates.values()))
    bar = tqdm.tqdm(
      total=len(self._todo),
      unit="cell",
      disable=not sys.stderr.isatty(),
      leave=False,
      bar_format="{desc}{percentage:3.0f} %|{bar}| {postfix}",
    )
    for number, cell in enumerate(self._todo, 1):
      if self._stop.number:
        break
      estimate = self._estimates[cell.name]
      bar.set_description(f"{cell.name} ")

      def show(fraction: float, number=number, estimate=estimate) -> None:
        bar.n = number - 1 + fraction
        left = timing.text(clock.seconds_left(fraction * estimate))
        bar.set_postfix_str(f"{left} left")

      start = time.monotonic()
      try:
        diverged = self._do(cell, show)
      except train.Stopped as e:
        bar.close()
        print(f"{cell.name}: {e}; the same command resumes", flush=True)
        return self._stop.exit_code
      seconds = time.monotonic() - start
      clock.over(estimate, seconds)
      bar.clear()
      print(
        f"[{number}/{len(self._todo)}] {cell.name}: {self._num_runs(cell)} runs"
        f" in {timing.text(seconds)}"
        + (f", {diverged} diverged" if diverged else "")
        + f"; {timing.text(clock.seconds_left())} left",
        flush=True,
      )
    bar.close()
    if self._stop.number:  # As a cell was finished.
      print("stopped; the same command resumes", flush=True)
      return self._stop.exit_code
    return 0

  def table(self) -> pd.DataFrame:
    """Returns a row for each run: its record, labels and measurements."""
    tables = [self._rows(c).assign(**dict(c.labels)) for c in self._cells]
    return pd.concat(tables, ignore_index=True)


class Training(Work):
  """Trains cells, and measures their runs."""

  def __init__(
    self,
    study: Study,
    cells: Sequence[TrainedCell],
    workdir: pathlib.Path,
    data_dir: str | None,
    stop: signals.Stop,
  ):
    super().__init__(cells, workdir, stop)
    self._study = study
    self._data_dir = data_dir

  def _num_runs(self, cell: TrainedCell) -> int:
    return len(sweep.runs(cell.config))

  def _estimate(self) -> dict[str, float]:
    datasets: dict[Any, data.Dataset] = {}
    estimates = {}
    for cell in self._todo:
      runs = sweep.runs(cell.config)
      if self._is_trained(cell):
        num_to_measure = len(_to_measure(self.folder(cell)))
        estimates[cell.name] = self._study.measure_seconds * num_to_measure
        continue
      # All that changes the number of examples, and their size.
      names = (
        "dataset",
        "data_file",
        "train_fraction",
        "validation_fraction",
        "num_train",
        "input_dim",
      )
      key = tuple(runs[0][name] for name in names)
      if key not in datasets:
        datasets[key] = data.load(runs[0], self._data_dir)
      estimates[cell.name] = timing.estimate(
        cell, datasets[key]
      ) + self._study.measure_seconds * len(runs)
    return estimates

  def _is_trained(self, cell: TrainedCell) -> bool:
    """Raises `RunError` if the folder of the cell holds another."""
    num_devices = placement.devices_per_run(
      cell.config, jax.local_device_count()
    )
    folder = str(self.folder(cell))
    return files.read_result(folder, cell.config, num_devices) is not None

  def _is_over(self, cell: TrainedCell) -> bool:
    return self._is_trained(cell) and not (
      self._study.measure and _to_measure(self.folder(cell))
    )

  def _do(self, cell: TrainedCell, show: Callable[[float], None]) -> int:
    result = self._train_cell(cell, show)
    if self._study.measure is not None:
      self._measure_cell(cell, self._study.measure)
    return sum(run["status"] == "diverged" for run in result["runs"])

  def _train_cell(
    self, cell: TrainedCell, show: Callable[[float], None]
  ) -> files.Record:
    folder = self.folder(cell)
    short = self._estimates[cell.name] < SHORT_SECONDS
    cell.config.checkpoint_at_evals = not short
    folder.mkdir(parents=True, exist_ok=True)

    def make_hooks(num_steps: int) -> list[Callable[[int], Any]]:
      # From the first step on, there is something to save.
      return [lambda step: self._stop.hold(), lambda n: show(n / num_steps)]

    writer = tensorboard.EventsWriter(str(folder))
    with os.fdopen(disk.open_end(folder / "train.log"), "a") as log:
      try:
        with contextlib.redirect_stdout(log):
          return train.train_and_evaluate(
            cell.config,
            str(folder),
            writer,
            data_dir=self._data_dir,
            make_hooks=make_hooks,
            should_stop=lambda: bool(self._stop.number),
            should_save=self._stop.take_save,
          )
      finally:
        writer.close()
        self._stop.release()

  def _measure_cell(
    self,
    cell: TrainedCell,
    measure: Callable[[restored.Run], files.Record],
  ) -> None:
    """Measures every run of a cell that did not diverge, and was not yet."""
    folder = self.folder(cell)
    names = _to_measure(folder)
    with disk.Lines(folder / MEASURES) as lines:
      for run in restored.load(folder, data_dir=self._data_dir):
        if self._stop.number:
          raise train.Stopped("stopped while it was measured")
        if run.name in names:
          line = {"run": run.name} | files.finite(measure(run))
          lines.add(line)

  def _rows(self, cell: TrainedCell) -> pd.DataFrame:
    folder = self.folder(cell)
    table = table_lib.read_frame([folder])
    if self._study.measure is not None:
      measured = pd.DataFrame(_measured(folder) or [{"run": ""}])
      clash = set(measured) & set(table) - {"run"}
      assert not clash, f"measured and recorded: {clash}"
      table = table.merge(measured, how="left", on="run")
    return table


def _measured(folder: pathlib.Path) -> list[files.Record]:
  """Returns what was measured of the runs of a cell, once each."""
  lines = files.read_lines(folder, MEASURES)
  return list(
    {x["run"]: x for x in lines if isinstance(x.get("run"), str)}.values()
  )


def _to_measure(folder: pathlib.Path) -> set[str]:
  """Returns the finished runs of a cell that are still to be measured."""
  finished = {
    run["run"] for run in files.read_runs(folder) if run["status"] == "finished"
  }
  return finished - {line["run"] for line in _measured(folder)}


class Computing(Work):
  """Computes cells by the study's own function."""

  def __init__(
    self,
    compute: Callable[[ComputedCell], list[files.Record]],
    seconds: float,
    cells: Sequence[ComputedCell],
    workdir: pathlib.Path,
    stop: signals.Stop,
  ):
    super().__init__(cells, workdir, stop)
    self._compute = compute
    self._seconds = seconds

  def _num_runs(self, cell: ComputedCell) -> int:
    return cell.num_runs

  def _estimate(self) -> dict[str, float]:
    return {cell.name: self._seconds * cell.num_runs for cell in self._todo}

  def _is_over(self, cell: ComputedCell) -> bool:
    return self._read(cell) is not None

  def _do(self, cell: ComputedCell, show: Callable[[float], None]) -> int:
    del show  # A cell is over at once, or not begun.
    rows = self._compute(cell)
    assert len(rows) == cell.num_runs, f"{cell.name}: {len(rows)} rows"
    folder = self.folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    # What is not finite becomes None.
    found = {"settings": dict(cell.settings), "rows": files.finite(rows)}
    disk.write_json(folder / COMPUTED, found | files.provenance())
    return 0

  def _read(self, cell: ComputedCell) -> list[files.Record] | None:
    """Returns the rows of a cell, or None if it is not over.

    Raises:
      RunError: its folder holds other settings, or cannot be read.
    """
    folder = self.folder(cell)
    path = folder / COMPUTED
    if not path.exists():
      return None
    try:
      found = disk.read_object(path)
      theirs, rows = found["settings"], found["rows"]
      if not all(isinstance(row, dict) for row in rows):
        raise TypeError(f"{COMPUTED} has a row that is none")
      if len(rows) != cell.num_runs:
        raise ValueError(f"{COMPUTED} has {len(rows)} of {cell.num_runs} rows")
    except (OSError, ValueError, KeyError, TypeError) as e:
      raise files.RunError(f"workdir {folder}: cannot be used ({e})") from e
    mine = json.loads(json.dumps(dict(cell.settings)))
    files.check_same(folder, theirs, mine)
    return rows

  def _rows(self, cell: ComputedCell) -> pd.DataFrame:
    return pd.DataFrame(self._read(cell))
