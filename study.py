"""Runs one study: `python study.py --study=studies/X.py`.

A study is a grid of trainings, what is measured of each run, its figure and its
claim. Its folder gets cells/ (the run folders), results.csv (one row a run),
figure.png, figure.pdf and claim.json. The same command resumes; cells that are
over are not trained, measured or computed again.

Exit codes: 0 finished, whatever the verdict; 2 wrong input or data; 130 or 143
stopped by Ctrl-C or SIGTERM after saving.
"""

import abc
from collections.abc import Callable, Sequence
import contextlib
import importlib
import json
import pathlib
import sys
import time
from types import ModuleType
from typing import Any

from absl import app
from absl import flags
from absl import logging
import jax
import pandas as pd
import tqdm

from analysis import figures
from analysis import restored
from analysis import table as table_lib
from configs import errors
from configs import sweep
import data
from program import jax_setup
from program import signals
from program.cli import fail
from run_folder import files
from run_folder import tensorboard
from studies.kit import cells as cells_lib
from studies.kit import computed
from studies.kit import timing
import train
from training import placement

FLAGS = flags.FLAGS
flags.DEFINE_string("study", None, "The study: studies/X.py.")
flags.DEFINE_string(
  "preset",
  "laptop",
  "laptop: offline data, minutes on 2 cores; paper: the paper's data and"
  " grids; desktop: of some studies, the paper's data and smaller grids, hours"
  " on 2 cores.",
)
flags.DEFINE_list(
  "workload",
  None,
  "Only these workloads of the preset, separated by commas. Default: all.",
)
flags.DEFINE_list(
  "shape",
  None,
  "Only these shapes, separated by commas: names of cells without the workload."
  " They do not change the default of --workdir, so that a later call can go on"
  " with the others. Default: all.",
)
flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the study. Default: runs/X-PRESET, and the workloads if not all.",
)
flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; see main.py.")
flags.DEFINE_bool(
  "estimate",
  False,
  "Only say how long the study would take, and train nothing.",
)

STUDIES = pathlib.Path(__file__).parent / "studies"
# A cell that should take less is saved at its end alone.
SHORT_SECONDS = 120
MEASURES = "measures.jsonl"
# What makes a module of studies/ a study. It may also have `measure`, from a
# `restored.Run` to columns of the table of results (a list is a curve, for the
# figure alone), and MEASURE_SECONDS, what that takes for a run on a laptop. One
# that does not train has `compute`, from a `computed.Cell` to all its rows, and
# COMPUTE_SECONDS, what a row takes.
PARTS = ("PAPER", "CLAIM", "presets", "cells", "claim", "figure")


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; a wrong one ends the program."""
  if {"--help", "-help", "-h"} & set(argv):
    print(f"{__doc__}\n{FLAGS.main_module_help()}\nstudies: {_names()}")
    sys.exit(0)
  try:
    rest = FLAGS(argv)
  except flags.Error as e:
    fail(str(e))
  if len(rest) > 1:
    fail(f"{rest[1]!r}: not a flag; every argument is --NAME=VALUE")
  return rest


def _names() -> str:
  """Returns the studies there are."""
  modules = {p.stem: p.read_text() for p in sorted(STUDIES.glob("[!_]*.py"))}
  return ", ".join(name for name, text in modules.items() if "CLAIM =" in text)


def load(path: str | None) -> ModuleType:
  """Returns the study in a file of studies/."""
  stem = pathlib.Path(path or "").stem
  if not path or pathlib.Path(path).resolve() != STUDIES / f"{stem}.py":
    fail(f"--study={path!r}: must be studies/X.py, X one of {_names()}")
  try:
    study = importlib.import_module(f"studies.{stem}")
  except ModuleNotFoundError as e:
    if e.name != f"studies.{stem}":
      raise
    fail(f"--study={path!r}: there is no such file; X is one of {_names()}")
  missing = [part for part in PARTS if not hasattr(study, part)]
  if missing:
    fail(f"--study={path!r}: is no study, since it has no {missing[0]}")
  return study


def choose(
  cells: Sequence[Any], label: str, names: Sequence[str] | None
) -> list[str]:
  """Returns those of the names of a label, in the order of the cells.

  Args:
    cells: of a study.
    label: "workload" or "shape".
    names: a wrong one ends the program; None: all, returned as [].
  """
  if names is None:
    return []
  found = {cell.labels.get(label): None for cell in cells}
  existing = [name for name in found if name is not None]
  text = ",".join(names)
  if not existing:
    fail(f"--{label}={text!r}: this study has no {label}s to choose from")
  if not names or not set(names) <= set(existing):
    fail(f"--{label}={text!r}: must be some of {', '.join(existing)}")
  return [name for name in existing if name in names]


class Work(abc.ABC):
  """Does the cells of a study that are not over."""

  def __init__(
    self,
    cells: Sequence[Any],
    workdir: pathlib.Path,
    stop: signals.StopSignal,
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
    return 0

  def table(self) -> pd.DataFrame:
    """Returns a row for each run: its record, labels and measurements."""
    tables = [self._rows(c).assign(**dict(c.labels)) for c in self._cells]
    return pd.concat(tables, ignore_index=True)


class Training(Work):
  """Trains cells, and measures their runs."""

  def __init__(
    self,
    study: ModuleType,
    cells: Sequence[cells_lib.Cell],
    workdir: pathlib.Path,
    data_dir: str | None,
    stop: signals.StopSignal,
  ):
    super().__init__(cells, workdir, stop)
    self._measure = getattr(study, "measure", None)
    self._measure_seconds = getattr(study, "MEASURE_SECONDS", 0.0)
    self._data_dir = data_dir

  def _num_runs(self, cell: cells_lib.Cell) -> int:
    return len(sweep.runs(cell.config))

  def _estimate(self) -> dict[str, float]:
    datasets: dict[Any, data.Dataset] = {}
    estimates = {}
    for cell in self._todo:
      runs = sweep.runs(cell.config)
      if self._is_trained(cell):
        num_to_measure = len(_to_measure(self.folder(cell)))
        estimates[cell.name] = self._measure_seconds * num_to_measure
        continue
      # All that changes the number of examples, and their size.
      names = (
        "dataset",
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
      ) + self._measure_seconds * len(runs)
    return estimates

  def _is_trained(self, cell: cells_lib.Cell) -> bool:
    """Raises `RunError` if the folder of the cell holds another."""
    num_devices = placement.devices_per_run(
      cell.config, jax.local_device_count()
    )
    folder = str(self.folder(cell))
    return files.read_result(folder, cell.config, num_devices) is not None

  def _is_over(self, cell: cells_lib.Cell) -> bool:
    return self._is_trained(cell) and not (
      self._measure and _to_measure(self.folder(cell))
    )

  def _do(self, cell: cells_lib.Cell, show: Callable[[float], None]) -> int:
    result = self._train_cell(cell, show)
    if self._measure is not None:
      self._measure_cell(cell, self._measure)
    return sum(run["status"] == "diverged" for run in result["runs"])

  def _train_cell(
    self, cell: cells_lib.Cell, show: Callable[[float], None]
  ) -> files.Record:
    folder = self.folder(cell)
    short = self._estimates[cell.name] < SHORT_SECONDS
    cell.config.checkpoint_at_evals = not short
    folder.mkdir(parents=True, exist_ok=True)

    def make_hooks(num_steps: int) -> list[Callable[[int], Any]]:
      return [lambda step: show(step / num_steps)]

    writer = tensorboard.create(str(folder))
    with open(folder / "train.log", "a") as log:
      try:
        with contextlib.redirect_stdout(log):
          return train.train_and_evaluate(
            cell.config,
            str(folder),
            writer,
            data_dir=self._data_dir,
            make_hooks=make_hooks,
            should_stop=lambda: bool(self._stop.number),
          )
      finally:
        if writer is not None:
          writer.close()

  def _measure_cell(
    self,
    cell: cells_lib.Cell,
    measure: Callable[[restored.Run], files.Record],
  ) -> None:
    """Measures every run of a cell that did not diverge, and was not yet."""
    folder = self.folder(cell)
    names = _to_measure(folder)
    with open(folder / MEASURES, "a") as file:
      for run in restored.load(folder, data_dir=self._data_dir):
        if self._stop.number:
          raise train.Stopped("stopped while it was measured")
        if run.name in names:
          line = {"run": run.name} | files.finite(measure(run))
          file.write(json.dumps(line) + "\n")
          file.flush()

  def _rows(self, cell: cells_lib.Cell) -> pd.DataFrame:
    folder = self.folder(cell)
    table = table_lib.read_frame([folder])
    if self._measure is not None:
      measured = pd.DataFrame(_measured(folder) or [{"run": ""}])
      clash = set(measured) & set(table) - {"run"}
      assert not clash, f"measured and recorded: {clash}"
      table = table.merge(measured, how="left", on="run")
    return table


class Computing(Work):
  """Computes cells by the study's own function."""

  def __init__(
    self,
    study: ModuleType,
    cells: Sequence[computed.Cell],
    workdir: pathlib.Path,
    stop: signals.StopSignal,
  ):
    super().__init__(cells, workdir, stop)
    self._compute = study.compute
    self._seconds = study.COMPUTE_SECONDS

  def _num_runs(self, cell: computed.Cell) -> int:
    return cell.num_runs

  def _estimate(self) -> dict[str, float]:
    return {cell.name: self._seconds * cell.num_runs for cell in self._todo}

  def _is_over(self, cell: computed.Cell) -> bool:
    return computed.read(self.folder(cell), cell) is not None

  def _do(self, cell: computed.Cell, show: Callable[[float], None]) -> int:
    del show  # A cell is over at once, or not begun.
    if self._stop.number:
      raise train.Stopped("stopped before it was computed")
    rows = self._compute(cell)
    assert len(rows) == cell.num_runs, f"{cell.name}: {len(rows)} rows"
    computed.write(self.folder(cell), cell, rows)
    return 0

  def _rows(self, cell: computed.Cell) -> pd.DataFrame:
    return pd.DataFrame(computed.read(self.folder(cell), cell))


def _measured(folder: pathlib.Path) -> list[files.Record]:
  """Returns what was measured of the runs of a cell."""
  return files.read_lines(folder, MEASURES)


def _to_measure(folder: pathlib.Path) -> set[str]:
  """Returns the runs of a cell that are over that are still to be measured."""
  finished = {
    run["run"] for run in files.read_runs(folder) if run["status"] == "finished"
  }
  return finished - {line["run"] for line in _measured(folder)}


def conclude(
  study: ModuleType, results: pd.DataFrame, workdir: pathlib.Path
) -> None:
  """Writes the table, the figure and the claims, and prints the claims."""
  # Curves are only drawn.
  curves = [n for n in results if results[n].map(type).eq(list).any()]
  table_lib.write_csv(results.drop(columns=curves), workdir / "results.csv")
  claims = study.claim(results)
  files.write_json(
    workdir / "claim.json",
    {"paper": study.PAPER, "claim": study.CLAIM, "found": claims},
  )
  figures.save(study.figure(results), workdir)
  print(f"{study.PAPER}: {study.CLAIM}")
  for claim in claims:
    print(describe(claim))


def describe(claim: dict[str, Any]) -> str:
  """Returns the lines of a claim and what was found."""
  value, low, high = (
    "?" if claim[key] is None else f"{claim[key]:.3g}"
    for key in ("value", "low", "high")
  )
  return (
    f"- {claim['claim']}: {claim['verdict'].upper()}\n"
    f"    {claim['metric']}; {claim['statistic']}: {value}"
    f" (95 % interval {low} to {high}, n = {claim['n']})\n"
    f"    paper: {claim['paper']}"
  )


def run(
  study: ModuleType,
  preset: str,
  workdir: pathlib.Path,
  *,
  data_dir: str | None = None,
  workloads: Sequence[str] = (),
  shapes: Sequence[str] = (),
  estimate_only: bool = False,
) -> int:
  """Runs a study, or these workloads or shapes of it; returns the exit code."""
  cells = study.cells(preset)
  for label, names in (("workload", workloads), ("shape", shapes)):
    if names:
      cells = [cell for cell in cells if cell.labels[label] in names]
  with signals.StopSignal() as stop:
    work: Work
    if hasattr(study, "compute"):
      work = Computing(study, cells, workdir, stop)
    else:
      work = Training(study, cells, workdir, data_dir, stop)
    work.plan()
    if estimate_only:
      return 0
    if code := work.do():
      return code
    conclude(study, work.table(), workdir)
  return 0


def main(argv: list[str]) -> None:
  del argv  # Checked by `parse_flags`.
  logging.set_verbosity(logging.ERROR)  # Orbax logs every step it takes.
  study = load(FLAGS.study)
  if FLAGS.preset not in study.presets:
    fail(f"--preset={FLAGS.preset!r}: must be one of {list(study.presets)}")
  cells = study.cells(FLAGS.preset)
  workloads = choose(cells, "workload", FLAGS.workload)
  if workloads:
    cells = [cell for cell in cells if cell.labels["workload"] in workloads]
  shapes = choose(cells, "shape", FLAGS.shape)
  name = "-".join([pathlib.Path(FLAGS.study).stem, FLAGS.preset, *workloads])
  workdir = pathlib.Path(FLAGS.workdir or f"runs/{name}")
  jax_setup.set_up(float64=False, spread_runs=True)
  try:
    code = run(
      study,
      FLAGS.preset,
      workdir,
      data_dir=FLAGS.data_dir,
      workloads=workloads,
      shapes=shapes,
      estimate_only=FLAGS.estimate,
    )
  except errors.UserError as e:
    fail(str(e))
  except BrokenPipeError:
    raise
  except OSError as e:
    fail(f"--workdir={str(workdir)!r}: cannot be used ({e})")
  sys.exit(code)


if __name__ == "__main__":
  signals.run(lambda: app.run(main, flags_parser=parse_flags))
