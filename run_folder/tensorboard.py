"""TensorBoard through clu, whose import of TensorFlow takes seconds.

So it is imported by a thread, while the main one compiles.
"""

from collections.abc import Callable, Sequence
import concurrent.futures
import importlib.util
import os
import sys
from typing import Any

from data import quiet_tensorflow


class BackgroundWriter:
  """`clu.metric_writers.SummaryWriter`, called in order by one thread.

  The events file appears with the first call, not before.
  """

  def __init__(
    self,
    workdir: str,
    pool: concurrent.futures.ThreadPoolExecutor | None = None,
  ):
    """Makes a writer to a folder; `pool` has one thread (None: a new one)."""
    quiet_tensorflow.set_up()
    self._workdir = workdir
    self._writer: Any = None
    self._pool = pool or concurrent.futures.ThreadPoolExecutor(max_workers=1)
    self._failed = False
    self._of_runs: list[BackgroundWriter] = []

  def for_run(self, name: str) -> "BackgroundWriter":
    """Returns the writer of a run of a sweep, to a folder of its own.

    It is called by the same thread and closed with this writer.
    """
    writer = BackgroundWriter(os.path.join(self._workdir, name), self._pool)
    self._of_runs.append(writer)
    return writer

  def _open(self) -> Any:
    quiet_tensorflow.load()
    from clu import metric_writers

    return metric_writers.SummaryWriter(self._workdir)

  def _call(self, method: str, *args: Any) -> None:
    if self._failed:
      return
    try:
      self._writer = self._writer or self._open()
      getattr(self._writer, method)(*args)
    except Exception as e:  # No reason to lose the run.
      self._failed = True
      print(
        f"warning: TensorBoard events end here ({type(e).__name__}: {e})",
        file=sys.stderr,
      )

  def _submit(self, method: str, *args: Any) -> None:
    self._pool.submit(self._call, method, *args)

  def write_scalars(self, step: int, scalars: dict[str, Any]) -> None:
    self._submit("write_scalars", step, scalars)

  def write_texts(self, step: int, texts: dict[str, str]) -> None:
    self._submit("write_texts", step, texts)

  def write_hparams(self, hparams: dict[str, Any]) -> None:
    self._submit("write_hparams", hparams)

  def close(self) -> None:
    """Waits until everything is written."""
    self._pool.shutdown()  # Only then is it known whether there is a writer.
    for writer in [self, *self._of_runs]:
      if writer._writer is not None:
        writer._call("close")


def create(workdir: str) -> BackgroundWriter | None:
  """Returns the writer, or None, with a warning, without TensorFlow."""
  if importlib.util.find_spec("tensorflow") is None:
    print("no TensorFlow: no TensorBoard events are written", file=sys.stderr)
    return None
  return BackgroundWriter(workdir)


class _Hooks:
  """clu's periodic actions, made at the first call: see this module."""

  def __init__(self, make: Callable[[int], Sequence[Callable[[int], Any]]]):
    self._make = make
    self._hooks: Sequence[Callable[[int], Any]] | None = None

  def __call__(self, step: int) -> None:
    if self._hooks is None:
      self._hooks = self._make(step)
    for hook in self._hooks:
      hook(step)


def hooks(
  writer: BackgroundWriter | None,
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
  if writer is None:
    return []

  def make(step: int) -> list[Callable[[int], Any]]:
    from clu import periodic_actions
    from clu import platform
    import jax

    platform.work_unit().set_task_status(
      f"process {jax.process_index()} of {jax.process_count()},"
      f" devices: {jax.local_devices()}"
    )
    made: list[Callable[[int], Any]] = [
      periodic_actions.ReportProgress(
        num_train_steps=num_steps,
        writer=writer,
        every_secs=10.0,
      )
    ]
    if profile:
      # From the first call on, which compiled, over five steps or a call.
      made.append(
        periodic_actions.Profile(
          logdir=workdir,
          first_profile=step,
          num_profile_steps=5,
          profile_duration_ms=None,
        )
      )
    return made

  return [_Hooks(make)]
