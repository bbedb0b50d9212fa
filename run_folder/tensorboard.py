"""TensorBoard's events, and clu's hooks, without TensorFlow.

TensorBoard itself has what its files are made of; TensorFlow, whose import
takes seconds and 700 MB, would write the same.
"""

from collections.abc import Callable, Sequence
import contextlib
import itertools
import os
import socket
import sys
import threading
import time
import types
from typing import Any, BinaryIO

_numbers = itertools.count()


class EventsWriter:
  """Writes as `clu.metric_writers.SummaryWriter` does.

  The events file appears with the first call, not before. Whoever reads it
  finds all that was written, even after `kill -9`. It begins with a record
  that makes TensorBoard forget later steps: those of a process that was killed
  after its last checkpoint, which are taken anew.
  """

  def __init__(self, workdir: str, *, adds: bool = False):
    """Makes a writer to a folder.

    Args:
      workdir: the folder.
      adds: whether it adds to the steps of a run, and is not the run.
    """
    self._workdir = workdir
    self._adds = adds
    self._file: BinaryIO | None = None
    self._records: Any = None
    self._failed = False
    self._lock = threading.Lock()  # clu's hooks write from a thread.
    self._of_runs: list[EventsWriter] = []

  def for_run(self, name: str) -> "EventsWriter":
    """Returns the writer of a run of a sweep, to a folder of its own.

    It is closed with this writer.
    """
    writer = EventsWriter(os.path.join(self._workdir, name))
    self._of_runs.append(writer)
    return writer

  def _open(self) -> None:
    from tensorboard.summary.writer import record_writer

    os.makedirs(self._workdir, exist_ok=True)
    # The name that TensorBoard looks for; the number tells writers apart.
    unique = f"{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
    name = f"events.out.tfevents.{int(time.time()):010d}.{unique}.v2"
    # A new file: never one that somebody has put there.
    self._file = open(os.path.join(self._workdir, name), "xb")
    self._records = record_writer.RecordWriter(self._file)

  def _write(self, events: Sequence[dict[str, Any]]) -> None:
    """Writes events, of which the fields are given, but the time."""
    if self._failed:
      return
    from tensorboard.compat.proto import event_pb2

    begin: list[dict[str, Any]]
    with self._lock:
      try:
        if self._file is None:
          self._open()
          begin = [{"file_version": "brain.Event:2"}]
          if not self._adds:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            begin.append({"session_log": start, "step": events[0]["step"]})
          events = [*begin, *events]
        for fields in events:
          event = event_pb2.Event(wall_time=time.time(), **fields)
          self._records.write(event.SerializeToString())
        self._records.flush()
      except OSError as e:  # No reason to lose the run.
        self._failed = True
        print(f"warning: TensorBoard events end here: {e}", file=sys.stderr)

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None:
    from tensorboard.compat.proto import summary_pb2

    # Not as tensors: those are not forgotten by `EventAccumulator`.
    values = [
      summary_pb2.Summary.Value(tag=name, simple_value=float(value))
      for name, value in scalars.items()
    ]
    summary = summary_pb2.Summary(value=values)
    self._write([{"step": step, "summary": summary}])

  def write_texts(self, step: int, texts: dict[str, str]) -> None:
    from tensorboard.plugins.text import summary_v2

    self._write(
      [
        {"step": step, "summary": summary_v2.text_pb(name, text)}
        for name, text in texts.items()
      ]
    )

  def write_hparams(self, hparams: dict[str, Any]) -> None:
    from tensorboard.plugins.hparams import summary_v2

    self._write([{"step": 0, "summary": summary_v2.hparams_pb(hparams)}])

  def close(self) -> None:
    """Closes the files of this writer and of those of its runs."""
    for writer in [self, *self._of_runs]:
      if writer._file is not None:
        # What is left where there is no space: it was said.
        with contextlib.suppress(OSError):
          writer._file.close()


def _import_hooks() -> Any:
  """Returns `clu.periodic_actions`, imported without TensorFlow.

  It imports clu's writers, and one of them TensorFlow: that one is replaced.
  """
  name = "clu.metric_writers.summary_writer"
  if name not in sys.modules:
    ours = types.ModuleType(name, "Stands for clu's, which needs TensorFlow.")
    ours.SummaryWriter = EventsWriter  # type: ignore[attr-defined]
    sys.modules[name] = ours
  from clu import periodic_actions

  return periodic_actions


def hooks(
  writer: EventsWriter,
  workdir: str,
  num_steps: int,
  *,
  profile: bool,
) -> list[Callable[[int], Any]]:
  """Returns what is called after steps: progress notes, and the profiler.

  Args:
    writer: receives steps_per_sec and uptime.
    workdir: where profiles go.
    num_steps: length of training.
    profile: whether to profile some steps.
  """
  periodic_actions = _import_hooks()
  from clu import platform
  import jax

  platform.work_unit().set_task_status(f"devices: {jax.local_devices()}")
  made: list[Callable[[int], Any]] = [
    periodic_actions.ReportProgress(
      num_train_steps=num_steps,
      writer=writer,
      every_secs=10.0,
    )
  ]
  if profile:
    made.append(_Profile(workdir))
  return made


class _Profile:
  """clu's profiler, from the first call on, which compiled."""

  def __init__(self, workdir: str):
    self._workdir = workdir
    self._profile: Callable[[int], Any] | None = None

  def __call__(self, step: int) -> None:
    if self._profile is None:
      # Over five steps, or a call.
      self._profile = _import_hooks().Profile(
        logdir=self._workdir,
        first_profile=step,
        num_profile_steps=5,
        profile_duration_ms=None,
      )
    self._profile(step)
