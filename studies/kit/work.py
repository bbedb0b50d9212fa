"""Does the cells of a study: trains and measures them, or computes them.

Each cell has a folder. The same call resumes; cells that are over are not
trained, measured or computed again.
"""

from collections.abc import Callable, Sequence
import contextlib
import json
import os
import pathlib
from typing import Any

import jax
import pandas as pd

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
from studies.kit import todo
from studies.kit.study import ComputedCell
from studies.kit.study import Measure
from studies.kit.study import Study
from studies.kit.study import TrainedCell
import train
from training import placement

# A cell that should take less is saved at its end alone.
SHORT_SECONDS = 120
# What a cell's folder holds beside its runs: lines of what was measured, or
# all that was computed.
MEASURES = "measures.jsonl"
_STEP = "measured_step"
COMPUTED = "computed.json"


def run(
  study: Study,
  cells: Sequence[Any],
  workdir: pathlib.Path,
  *,
  data_dir: str | None = None,
  stop: signals.Stop | None = None,
  estimate_only: bool = False,
  do: Callable[[todo.Work], int] = todo.Work.do,
  seconds: float | None = None,
  conclude: bool = True,
  among: Sequence[Any] = (),
) -> int:
  """Does cells of a study and concludes; returns the exit code.

  Args:
    study: whose cells they are.
    cells: all of a preset, or some of them.
    workdir: folder of the study.
    data_dir: see `data.load`.
    stop: is told while there is something to save, and asked whether to stop;
      None: nothing stops it.
    estimate_only: whether only to say what is left and how long it takes.
    do: does all cells that are left; returns the exit code, 0 if all is over.
    seconds: estimated for each cell, by another process; None: estimated here.
    conclude: whether to draw the figure and judge the claims at the end.
    among: all cells of the preset, of which those are judged, too, that an
      earlier call has done in this folder.

  Raises:
    UserError: data is missing, or a folder holds something else.
  """
  work: todo.Work
  stop = stop or signals.Stop()
  if study.compute is None:
    work = Training(study, cells, workdir, data_dir, stop)
  else:
    work = Computing(study.compute, study.compute_seconds, cells, workdir, stop)
  work.plan(seconds)
  if estimate_only:
    return 0
  code = do(work)
  if conclude and not code:
    conclusion.write(study, work.table(_over(work, cells, among)), workdir)
  return code


def _over(
  work: todo.Work, cells: Sequence[Any], among: Sequence[Any]
) -> list[Any]:
  """Returns the cells and, of those among which they are, all that are over."""
  names = {cell.name for cell in cells}
  over = []
  for cell in among or cells:
    try:
      if cell.name in names or work.is_over(cell):
        over.append(cell)
    except files.RunError:  # Of another grid; whoever asks for it is told.
      continue
  if len(over) > len(cells):
    print(f"with {len(over) - len(cells)} more cells that are over here")
  return over


class Training(todo.Work):
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

  def num_runs(self, cell: TrainedCell) -> int:
    return len(sweep.runs(cell.config))

  def _estimate(self) -> dict[str, timing.Estimate]:
    datasets: dict[Any, data.Dataset] = {}
    estimates = {}
    measure = self._study.measure
    seconds_a_run = measure.seconds if measure else 0.0
    for cell in self.todo:
      runs = sweep.runs(cell.config)
      if self._is_trained(cell):
        left = self._to_measure(cell)
        estimates[cell.name] = timing.Estimate(seconds_a_run * len(left))
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
      training = timing.estimate(cell, datasets[key])
      estimates[cell.name] = training._replace(
        seconds=training.seconds + seconds_a_run * len(runs)
      )
    return estimates

  def _is_trained(self, cell: TrainedCell) -> bool:
    """Raises `RunError` if the folder of the cell holds another."""
    num_devices = placement.devices_per_run(
      cell.config, jax.local_device_count()
    )
    folder = str(self.folder(cell))
    return files.read_result(folder, cell.config, num_devices) is not None

  def is_over(self, cell: TrainedCell) -> bool:
    return self._is_trained(cell) and not self._to_measure(cell)

  def do_cell(self, cell: TrainedCell, show: Callable[[float], None]) -> None:
    self._train_cell(cell, show)
    if self._study.measure:
      self._measure_cell(cell, self._study.measure)

  def num_diverged(self, cell: TrainedCell) -> int:
    runs = files.read_runs(self.folder(cell))
    return sum(run["status"] == "diverged" for run in runs)

  def _train_cell(
    self, cell: TrainedCell, show: Callable[[float], None]
  ) -> None:
    folder = self.folder(cell)
    short = self.estimates[cell.name] < SHORT_SECONDS
    cell.config.checkpoint_at_evals = not short
    folder.mkdir(parents=True, exist_ok=True)

    def make_hooks(num_steps: int) -> list[Callable[[int], Any]]:
      # From the first step on, there is something to save.
      return [lambda step: self.stop.hold(), lambda n: show(n / num_steps)]

    writer = tensorboard.EventsWriter(str(folder))
    with os.fdopen(disk.open_end(folder / "train.log"), "a") as log:
      try:
        with contextlib.redirect_stdout(log):
          train.train_and_evaluate(
            cell.config,
            str(folder),
            writer,
            data_dir=self._data_dir,
            make_hooks=make_hooks,
            should_stop=lambda: bool(self.stop.number),
            should_save=self.stop.take_save,
          )
      finally:
        writer.close()
        self.stop.release()

  def _measure_cell(self, cell: TrainedCell, measure: Measure) -> None:
    """Measures every run of a cell that did not diverge, and was not yet."""
    folder = self.folder(cell)
    names = self._to_measure(cell)
    if not names:  # As where all diverged: then there may be no weights.
      return
    with disk.Lines(folder / MEASURES) as lines:
      for run in restored.load(folder, data_dir=self._data_dir):
        if self.stop.number:
          raise train.Stopped("stopped while it was measured")
        if run.name in names:
          found = files.finite(measure(run))
          lines.add({"run": run.name, _STEP: run.step} | found)

  def _to_measure(self, cell: TrainedCell) -> set[str]:
    """Returns the finished runs of a cell that are still to be measured."""
    if not self._study.measure:
      return set()
    folder = self.folder(cell)
    finished = {
      run["run"]
      for run in files.read_runs(folder)
      if run["status"] == "finished"
    }
    return finished - _measured(folder, self._study.measure).keys()

  def _rows(self, cell: TrainedCell) -> pd.DataFrame:
    folder = self.folder(cell)
    table = table_lib.read_frame([folder])
    if self._study.measure:
      lines = _measured(folder, self._study.measure).values()
      measured = pd.DataFrame(list(lines) or [{"run": ""}])
      clash = set(measured) & set(table) - {"run"}
      assert not clash, f"measured and recorded: {clash}"
      table = table.merge(measured, how="left", on="run")
    return table


def _measured(
  folder: pathlib.Path, measure: Measure
) -> dict[str, files.Record]:
  """Returns what was measured of the runs of a cell, by their names.

  What was measured before a run was trained for longer is left out.
  """
  columns = {"run", *measure.columns}
  steps = {run["run"]: run["num_steps"] for run in files.read_runs(folder)}
  found = {}
  for line in files.read_lines(folder, MEASURES):
    if not line.keys() >= columns or not isinstance(line["run"], str):
      continue
    # Older versions did not say at which step they measured.
    now = steps.get(line["run"])
    if line.pop(_STEP, now) == now:
      found[line["run"]] = line
  return found


class Computing(todo.Work):
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

  def num_runs(self, cell: ComputedCell) -> int:
    return cell.num_runs

  def _estimate(self) -> dict[str, timing.Estimate]:
    return {
      cell.name: timing.Estimate(self._seconds * cell.num_runs)
      for cell in self.todo
    }

  def is_over(self, cell: ComputedCell) -> bool:
    return self._read(cell) is not None

  def do_cell(self, cell: ComputedCell, show: Callable[[float], None]) -> None:
    del show  # A cell is over at once, or not begun.
    rows = self._compute(cell)
    assert len(rows) == cell.num_runs, f"{cell.name}: {len(rows)} rows"
    folder = self.folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    # What is not finite becomes None.
    found = {"settings": dict(cell.settings), "rows": files.finite(rows)}
    disk.write_json(folder / COMPUTED, found | files.provenance())

  def num_diverged(self, cell: ComputedCell) -> int:
    del cell  # Nothing is trained.
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
