"""What a run writes while it trains: lines, TensorBoard, and its result."""

import time
from typing import Any, Protocol

from clu import parameter_overview
import ml_collections

from configs import sweep
from run_folder import elsewhere
from run_folder import files
from run_folder import naming
from run_folder import scoring
from run_folder.files import Record

PyTree = Any
# What was not finite, and at which step.
Diverged = tuple[str, int]
# By the index of the run.
Lines = dict[int, Record]

# Numbers in TensorBoard of a run of a sweep: clu takes 0.24 ms to write one.
MAX_SWEEP_NUMBERS = 20
# Each run has an open file; systems often allow a process 1,024.
MAX_SWEEP_WRITERS = 800


class Writer(Protocol):
  """The part of `clu.metric_writers.MetricWriter` that training needs."""

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None: ...

  def write_texts(self, step: int, texts: dict[str, str]) -> None: ...

  def write_hparams(self, hparams: dict[str, Any]) -> None: ...


class RunsWriter(Writer, Protocol):
  """A writer that has another one for each run of a sweep."""

  def for_run(self, name: str) -> Writer: ...


class RunLog:
  """The lines, TensorBoard events and result of a run, or of a sweep.

  Attributes:
    names: of the runs; '' of a run alone.
    is_sweep: whether they are those of a sweep.
    diverged: the runs that are over since something was not finite.
    newest: the last logged training metrics of each run.
  """

  def __init__(
    self,
    folder: files.RunFolder | elsewhere.Folder,
    config: ml_collections.ConfigDict,
    writer: RunsWriter | None,
    *,
    steps_per_epoch: int,
    num_steps: int,
  ):
    """Opens a writer for each run, if they are not too many."""
    self._folder = folder
    self._config = config
    self._steps_per_epoch = steps_per_epoch
    self._num_steps = num_steps
    self.names = naming.run_names(config)
    self.is_sweep = bool(sweep.swept(config))
    self.diverged: dict[int, Diverged] = {}
    self.newest: Lines = {}
    self._writers: list[Writer] = []
    self.has_too_many_runs = len(self.names) > MAX_SWEEP_WRITERS
    if writer is not None and not self.has_too_many_runs:
      self._writers = (
        [writer.for_run(n) for n in self.names] if self.is_sweep else [writer]
      )
    self.start_clock(0)

  def start_clock(self, step: int) -> None:
    """Measures the speed from here on."""
    self._clock = step, time.monotonic()

  def pause_clock(self, seconds: float) -> None:
    """Leaves so many seconds out of what is measured."""
    step, start = self._clock
    self._clock = step, start + seconds

  def resume(self, step: int) -> None:
    """Drops the lines of later steps; notes the runs that have diverged."""
    self._folder.keep_lines_up_to(step)
    for line in self._folder.lines():
      if "diverged" in line:
        where = line["diverged"]
        run = self.names.index(line["run"])
        self.diverged[run] = where["metric"], where["step"]
    self.start_clock(step)

  def going(self) -> list[int]:
    """Returns the runs that have not diverged."""
    return [r for r in range(len(self.names)) if r not in self.diverged]

  def begin(self, counts: list[dict[str, int]], params: PyTree) -> None:
    """Writes to TensorBoard what is known of the runs before they train.

    Args:
      counts: the numbers of parameters of each run.
      params: of a run alone.
    """
    runs = sweep.runs(self._config)
    for writer, run in zip(self._writers, runs, strict=False):
      hparams = files.identity(run)
      writer.write_hparams({k: _plain(v) for k, v in hparams.items()})
    if self._writers and not self.is_sweep:
      overview = parameter_overview.get_parameter_overview(params)
      self._writers[0].write_texts(0, {"parameters": f"```\n{overview}\n```"})
      sparsity = {"sparsity": self._config.sparsity}
      self._writers[0].write_scalars(0, counts[0] | sparsity)

  def diverge(self, run: int, where: Diverged, step: int) -> None:
    """Notes that a run is over, while its neighbours go on."""
    self.diverged[run] = where
    if self.is_sweep:
      self._folder.append(self._place(run, step) | _diverged(where))

  def _place(self, run: int, step: int) -> Record:
    """Returns which run and step a line is about."""
    at = {"step": step, "epoch": step / self._steps_per_epoch}
    return {"run": self.names[run]} | at if self.is_sweep else at

  def write(self, step: int, lines: Lines, evaluated: Lines) -> None:
    """Adds a line for each run, and numbers to TensorBoard.

    Args:
      step: training steps taken.
      lines: all that is logged.
      evaluated: what of it was just evaluated.
    """
    for run, line in lines.items():
      self._folder.append(self._place(run, step) | line)
    if not self._writers:
      return
    if self.is_sweep:
      self._write_points(step, evaluated)
      return
    last_step, start = self._clock
    speed = {}
    if step > last_step:
      rate = (step - last_step) / (time.monotonic() - start)
      speed = {"examples_per_second": rate * self._config.batch_size}
    self.start_clock(step)
    self._writers[0].write_scalars(step, lines[0] | speed)

  def _write_points(self, step: int, evaluated: Lines) -> None:
    """Writes to TensorBoard what of an evaluation is drawn of a sweep."""
    period = self._config.eval_every_epochs * self._steps_per_epoch
    for run, values in evaluated.items():
      values = self.newest.get(run, {}) | values
      kind = scoring.metric_of(scoring.score_name(values))
      point = {k: v for k, v in values.items() if k.endswith(kind)}
      evaluations = -(-self._num_steps // period)
      stride = -(-evaluations // (MAX_SWEEP_NUMBERS // len(point)))
      if step == self._num_steps or step % (stride * period) == 0:
        self._writers[run].write_scalars(step, point)

  def score(self, evaluated: Lines) -> float | None:
    """Returns by what the best checkpoint of a run is chosen."""
    # The runs of a sweep share their checkpoints, but not their best step.
    if self.is_sweep or not evaluated or scoring.is_partial(evaluated[0]):
      return None
    name = scoring.score_name(evaluated[0])
    return scoring.score(name, evaluated[0][name])

  def sync(self) -> None:
    """Waits until the lines are on disk, so that no checkpoint is ahead."""
    self._folder.sync()

  @property
  def num_lines(self) -> int:
    """The number of lines so far."""
    return self._folder.num_lines

  def finish(self, counts: list[dict[str, int]], facts: Record) -> Record:
    """Writes and returns the result of all runs.

    Args:
      counts: the numbers of parameters of each run.
      facts: what else is known of all: time and devices.
    """
    runs = self._run_records(counts)
    result = {
      "status": "finished" if self.going() else "diverged",
      "config": files.to_json(self._config),
      **({"runs": runs} if self.is_sweep else runs[0]),
      **facts,
      **files.provenance(),
    }
    self._folder.finish(result)
    return result

  def _run_records(self, counts: list[dict[str, int]]) -> list[Record]:
    lines: dict[str, list[Record]] = {name: [] for name in self.names}
    for line in self._folder.lines():
      lines[line.pop("run", "")].append(line)
    runs = []
    for i, name in enumerate(self.names):
      run: Record = {"run": name} if self.is_sweep else {}
      run["status"] = "diverged" if i in self.diverged else "finished"
      run |= counts[i] | scoring.summarize(lines[name])
      if i in self.diverged:
        run |= _diverged(self.diverged[i])
      runs.append(run)
    return runs


def _diverged(where: Diverged) -> Record:
  metric, step = where
  return {"diverged": {"metric": metric, "step": step}}


def _plain(value: Any) -> Any:
  """TensorBoard's hyper-parameters are numbers and texts."""
  return str(value) if isinstance(value, list) else value
