"""Does the cells of a study on workers of Dask: of this machine, or a cluster.

A cell is a program of its own, `study.py --cell=NAME`, which a worker starts
(`program/leash.py`). This process submits as many cells as there are workers,
the longest first; what they leave is read from the folder that all share.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
import sys
import time
from typing import Any
import uuid

import jax

from configs import errors
from program import leash
from studies.kit import timing
from studies.kit import todo

LEASH = pathlib.Path(leash.__file__).resolve()
# How often a cell is begun, if its program or worker is killed.
MAX_TRIES = 3
# Seconds between looks at what is over, and at how many workers there are.
PERIOD = 0.1
COUNT_PERIOD = 1.0
CONNECT_SECONDS = 15
WRONG_INPUT = 2
# How a cell ends that is not begun again: wrong input, and stops.
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FINAL = {WRONG_INPUT, *(128 + n for n in _STOPS), *(-n for n in _STOPS)}
# Signals to a group of processes, as of Ctrl-C, are for this one.
_PRELOAD = """
import signal

def dask_setup(worker):
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
"""


class ClusterError(errors.UserError):
  """Workers that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Workers:
  """Who does the cells of a study.

  Attributes:
    flags: of `study.py`, that each cell needs.
    number: of the workers of this machine that are started.
    scheduler: address of one of Dask to join instead, with its workers.
  """

  flags: Sequence[str]
  number: int = 0
  scheduler: str | None = None

  def do(self, work: todo.Work) -> int:
    """Does all cells that are left; returns the exit code, 0 if all is over.

    Raises:
      ClusterError: Dask cannot be reached, or its workers do not see the folder
        of the study.
    """
    if not work.todo:
      return 0
    places = [] if self.scheduler else places_of(self.number)
    with _client(self.number, self.scheduler) as client, _probe(work) as probe:
      return _Session(self.flags, places, work, client, probe).do()


def places_of(number: int) -> list[dict[str, str]]:
  """Returns the cores and the GPU of each worker of this machine.

  Raises:
    ClusterError: there are fewer GPUs.
  """
  places: list[dict[str, str]] = [{} for _ in range(number)]
  if hasattr(os, "sched_getaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    for i, place in enumerate(places):
      mine = cores[i::number] or [cores[i % len(cores)]]
      place["CORES"] = ",".join(map(str, mine))
  if jax.default_backend() == "gpu":
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = given.split(",") if given else map(str, range(jax.device_count()))
    names = list(gpus)
    if number > len(names):
      raise ClusterError(
        f"--workers={number}: must be at most the {len(names)} GPUs"
      )
    for place, name in zip(places, names, strict=False):
      place["CUDA_VISIBLE_DEVICES"] = name
  return places


def require_dask() -> None:
  """Raises `ClusterError` if Dask is not installed."""
  try:
    import distributed  # noqa: F401
  except ImportError as e:
    raise ClusterError(
      f"workers need Dask, which is not installed ({e}); install it by: pip"
      " install -r requirements-cluster.txt"
    ) from e


@contextlib.contextmanager
def _client(number: int, scheduler: str | None) -> Iterator[Any]:
  """Yields a client of Dask."""
  import cloudpickle
  import dask
  import distributed

  cloudpickle.register_pickle_by_value(leash)
  for name in ("distributed", "distributed.client"):  # Both have a level.
    logging.getLogger(name).setLevel(logging.CRITICAL)
  settings = {
    # What a killed worker did is tried again here, which counts.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.preload": [_PRELOAD],
    "distributed.nanny.pre-spawn-environ": {},  # That of the cells is ours.
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
  }
  with contextlib.ExitStack() as stack:
    stack.enter_context(dask.config.set(settings))
    if scheduler is None:
      stack.enter_context(_without_main())
      scheduler = stack.enter_context(
        distributed.LocalCluster(
          n_workers=number,
          threads_per_worker=1,
          memory_limit=0,
          host="127.0.0.1",
          dashboard_address=None,
          silence_logs=logging.CRITICAL,
        )
      )
    try:
      client = distributed.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as e:
      raise ClusterError(
        f"--scheduler={scheduler!r}: cannot be reached ({e})"
      ) from e
    yield stack.enter_context(client)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
  """Hides the program from `multiprocessing`, whose processes import it.

  Workers need nothing of it, and its imports take seconds and memory.
  """
  main = vars(sys.modules["__main__"])
  hidden: dict[str, Any] = {
    n: main.pop(n) for n in ("__file__", "__spec__") if n in main
  }
  main["__spec__"] = None
  try:
    yield
  finally:
    main.update(hidden)


@contextlib.contextmanager
def _probe(work: todo.Work) -> Iterator[pathlib.Path]:
  """Yields a new file in the folder of a study, for workers to look for."""
  path = work.workdir.resolve() / f".workers-{uuid.uuid4().hex}"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.touch()
  try:
    yield path
  finally:
    path.unlink(missing_ok=True)


@dataclasses.dataclass
class _Try:
  """A cell that was given to the workers."""

  cell: Any
  number: int
  start: float


class _Session:
  """Does the cells of a study once."""

  def __init__(
    self,
    flags: Sequence[str],
    places: Sequence[Mapping[str, str]],
    work: todo.Work,
    client: Any,
    probe: pathlib.Path,
  ):
    self._flags = flags
    self._places = places
    self._work = work
    self._client = client
    self._probe = probe
    # The next one is the last.
    self._queue = sorted(
      (_Try(cell, 1, 0.0) for cell in work.todo),
      key=lambda x: work.estimates[x.cell.name],
    )
    self._running: dict[Any, _Try] = {}
    self._failed: list[int] = []
    self._unseen = ""
    self._num_over = 0
    self._clock = timing.Clock(list(work.estimates.values()))
    self._bar = todo.progress_bar(len(work.todo))

  def do(self) -> int:
    stop = self._work.stop
    stop.hold()  # The cells save.
    counted = -COUNT_PERIOD
    num_workers, said = 0, False
    try:
      while self._queue or self._running:
        if time.monotonic() > counted + COUNT_PERIOD:
          counted = time.monotonic()
          num_workers = sum(self._client.nthreads().values())
          if not num_workers and not said:
            print("waiting for workers", file=sys.stderr)
            said = True
          if stop.number or self._unseen:
            self._stop()
        while self._queue and len(self._running) < num_workers:
          self._submit(self._queue.pop())
        for future in [f for f in self._running if f.done()]:
          self._take(future, num_workers)
        self._show(num_workers)
        time.sleep(PERIOD)
    except (OSError, futures.CancelledError) as e:
      raise ClusterError(
        f"the scheduler is lost ({e}); the same command resumes"
      ) from e
    finally:
      self._bar.close()
      stop.release()
    if self._unseen:
      raise ClusterError(self._unseen)
    if stop.number:
      print("stopped; the same command resumes", flush=True)
      return stop.exit_code
    if self._failed:
      print(
        f"{len(self._failed)} of {len(self._work.todo)} cells failed; the same"
        " command tries them again",
        file=sys.stderr,
      )
    return max(self._failed, default=0)

  def _stop(self) -> None:
    """Lets all cells save and end; also those that have just been begun."""
    self._queue.clear()
    self._client.run(leash.stop, str(self._probe), on_error="ignore")

  def _submit(self, attempt: _Try) -> None:
    """Gives a cell to the workers."""
    attempt.start = time.monotonic()
    name = attempt.cell.name
    command = [
      sys.executable,
      str(LEASH),
      "study.py",
      *self._flags,
      f"--cell={name}",
      f"--cell_seconds={self._work.estimates[name]}",
    ]
    folder = self._work.folder(attempt.cell).resolve()
    # A closure, since Dask sends what has a name by its name alone, which says
    # nothing to a worker in another folder.
    do = leash.do
    future = self._client.submit(
      lambda *args: do(*args),
      command,
      str(folder),
      str(self._probe),
      self._places,
      pure=False,
    )
    self._running[future] = attempt

  def _take(self, future: Any, num_workers: int) -> None:
    """Takes what became of a cell."""
    import distributed

    attempt = self._running.pop(future)
    cell, tries = attempt.cell, attempt.number
    code: int | None = 1
    try:
      code, text = future.result()
      by_signal = code is not None and code < 0
      how = f"signal {-code}" if by_signal else f"exit code {code}"
    except distributed.KilledWorker as e:
      how, text = "its worker was killed", ""
      tries += e.allowed_failures  # Of the scheduler, which tried it again.
    except futures.CancelledError:
      raise
    except Exception as e:  # Whatever became of a worker and its disk.
      how, text = "its worker failed", f"{type(e).__name__}: {e}"
    if code is None:
      self._unseen = (
        f"a worker does not see {text}; all need the study's folder, the"
        " program and its Python at the same paths"
      )
    elif code == 0:
      self._num_over += 1
      seconds = time.monotonic() - attempt.start
      self._clock.over(self._work.estimates[cell.name], seconds)
      self._bar.clear()
      left = self._seconds_left(num_workers)
      self._work.report(self._num_over, cell, seconds, left)
    elif self._work.stop.number or self._unseen:
      pass  # It was stopped, and saved.
    elif code in _FINAL or tries >= MAX_TRIES:
      self._failed.append(WRONG_INPUT if code == WRONG_INPUT else 1)
      self._say(cell, "failed", how, text)
    else:
      self._queue.append(_Try(cell, tries + 1, 0.0))
      self._say(cell, "is tried again", how, text)

  def _say(self, cell: Any, what: str, how: str, text: str) -> None:
    """Says how a cell ended, and what it printed last."""
    lines = "".join(f"\n  {line}" for line in text.splitlines())
    self._bar.clear()
    log = self._work.folder(cell) / leash.LOG
    print(f"{cell.name} {what} ({how}; {log}){lines}", file=sys.stderr)

  def _seconds_left(self, num_workers: int) -> float:
    now, ratio = time.monotonic(), self._clock.ratio
    estimates = self._work.estimates
    done = sum(
      min((now - attempt.start) / ratio, estimates[attempt.cell.name])
      for attempt in self._running.values()
    )
    at_once = min(num_workers, len(self._queue) + len(self._running))
    return self._clock.seconds_left(done) / max(at_once, 1)

  def _show(self, num_workers: int) -> None:
    left = timing.text(self._seconds_left(num_workers))
    self._bar.n = self._num_over
    self._bar.set_description(f"{len(self._running)} cells on {num_workers} ")
    self._bar.set_postfix_str(f"{left} left")
