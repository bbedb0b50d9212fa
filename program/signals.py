"""How a program ends: by signals, in spite of outputs that nobody reads."""

from collections.abc import Callable
import io
import os
import select
import signal
import sys
import threading
from typing import Any, NoReturn, TextIO

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
  """What a program does when a signal comes.

  SIGINT, SIGTERM and SIGHUP end it: at once while nothing is lost by that;
  while training holds them, it saves first, and the second one does not wait.
  SIGUSR1, which a cluster may send before the time of a job is over, lets
  training save and go on. A thread acts, since native code, as of imports and
  compilations, keeps the main one from it for seconds to minutes.

  Attributes:
    number: of the signal that came while training held it; 0: none.
    usr1_ends: whether SIGUSR1 ends the program, too.
  """

  def __init__(self) -> None:
    self.number = 0
    self.usr1_ends = False
    self._held = False
    self._save = False
    self._armed = False

  def arm(self) -> None:
    """Acts on signals from here on; only the main thread may call it."""
    if self._armed:
      return
    self._armed = True
    _open_outputs()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (*ENDING, signal.SIGUSR1):
      # `nohup` has SIGHUP ignored, and a shell's script SIGINT after `&`.
      if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, lambda *_: None)  # The thread acts.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=self._watch, args=(reader,), daemon=True).start()

  def hold(self) -> None:
    """Lets a signal wait for training, which has something to save."""
    self._held = True

  def release(self) -> None:
    """Lets a signal end the program at once: everything is saved."""
    self._held = False

  def take_save(self) -> bool:
    """Whether SIGUSR1 asked, since the last call, to save and go on."""
    asked, self._save = self._save, False
    return asked

  def _watch(self, reader: int) -> NoReturn:
    while True:
      for number in os.read(reader, 64):
        self._act(number)

  def _act(self, number: int) -> None:
    if number == signal.SIGUSR1 and not self.usr1_ends:
      self._save = True
    elif self._held and not self.number:
      self.number = number
    elif number in (*ENDING, signal.SIGUSR1):
      held = "without saving" if self._held else "nothing was left to save"
      line = f"stopped by {signal.Signals(number).name}: {held}\n"
      _say(line)
      end_by(number)

  @property
  def exit_code(self) -> int:
    return 128 + self.number


# Of this process.
STOP = Stop()


def _say(line: str) -> None:
  """Writes a line to stderr, unless that would not end."""
  try:
    if select.select([], [2], [], 0)[1]:
      # After a bar, and what a terminal shows of Ctrl-C.
      os.write(2, ("\n" * os.isatty(2) + line).encode())
  except OSError:
    pass


def end_by(number: int) -> NoReturn:
  """Ends the process by a signal, so that a shell loop ends with it.

  A shell goes on after a program that exits by itself, whatever the code is.
  """
  try:
    # `signal.signal` is for the main thread.
    import ctypes

    ctypes.CDLL(None).signal(number, None)
    signal.pthread_kill(threading.get_ident(), number)
  finally:
    # Nothing ends the first process of a container in this way.
    os._exit(128 + number)


class _Output(io.FileIO):
  """A file whose reader may go away: what is written then is lost."""

  def write(self, data: Any) -> int:
    try:
      return super().write(data)
    except OSError:
      return len(memoryview(data).cast("B"))


def _open_outputs() -> None:
  """Makes stdout and stderr files that can always be written to."""
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      # Else the next file that is opened gets what libraries print.
      os.open(os.devnull, os.O_RDWR)
  sys.stdout = _reopened(1, sys.stdout)
  sys.stderr = _reopened(2, sys.stderr)


def _reopened(number: int, before: TextIO | None) -> TextIO:
  raw = _Output(number, "w", closefd=False)
  if not isinstance(before, io.TextIOWrapper):  # It was closed.
    return io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True)
  return io.TextIOWrapper(
    io.BufferedWriter(raw),
    encoding=before.encoding,
    errors=before.errors,
    line_buffering=before.line_buffering or before.write_through,
  )


def own_stdout(*, is_shown: bool) -> None:
  """Keeps what libraries print, not by Python, from stdout; or all there is."""
  sys.stdout.flush()
  number = os.dup(1) if is_shown else 1
  null = os.open(os.devnull, os.O_WRONLY)
  os.dup2(null, 1)
  os.close(null)
  sys.stdout = _reopened(number, sys.stdout)


def _silence_libraries() -> None:
  """Hides what libraries tell those who write a program from who runs it.

  Else such lines come and go with the machine: without a home folder that can
  be written, or with a GPU. PYTHONWARNINGS would even make errors of them.
  """
  import logging
  import warnings

  warnings.simplefilter("ignore")
  if logging.lastResort is not None:  # It prints what nobody else handles.
    logging.lastResort.setLevel(logging.ERROR)


def _lack_of_memory(error: Exception) -> str | None:
  """Returns what was too large, where NumPy or JAX had no memory for it."""
  text = str(error)
  if isinstance(error, MemoryError):
    return text or "of Python"
  # `jax.errors.JaxRuntimeError`, without an import of JAX.
  if isinstance(error, RuntimeError) and text.startswith("RESOURCE_EXHAUSTED:"):
    return text.splitlines()[0].removeprefix("RESOURCE_EXHAUSTED:").strip()
  return None


def run(main: Callable[[], None]) -> None:
  """Runs a program; one that stopped after a signal ends by that signal."""
  STOP.arm()
  _silence_libraries()
  try:
    main()
  except Exception as e:
    if lack := _lack_of_memory(e):
      from program import cli

      cli.fail(f"not enough memory ({lack})")
    raise
  finally:
    sys.stdout.flush()
    if STOP.number:
      sys.stderr.flush()
      end_by(STOP.number)
