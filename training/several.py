"""A run over several processes, each with devices of its own.

JAX connects them. Beside that, a thread of each looks after the others: when
one fails, or is no longer heard of, all end and say which, whatever native code
they wait in.
"""

import atexit
import collections
from collections.abc import Callable, Iterator, Sequence
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn, TypeVar

import jax
from jax._src import distributed
from jax.experimental import multihost_utils
import numpy as np

from configs import errors
from training import hosts

PyTree = Any
T = TypeVar("T")

# Until all have come.
PATIENCE_SECONDS = 300
# After which a process that is not heard of has gone.
SILENCE_SECONDS = 15
# JAX ends processes, too, with less to read.
JAX_SILENCE_SECONDS = 60
LEAVE_SECONDS = 10
_BEAT_MS = 1000
# How long a stop waits for the other processes, about.
_AGREE_SECONDS = 0.05
_MAX_CALLS = 1000
# How an operation ends whose partner has gone.
_LOST = re.compile(
  r"Gloo|NCCL|UNKNOWN:|UNAVAILABLE:|ABORTED:|CANCELLED:|DEADLINE_EXCEEDED:"
)
_FOREVER_MS = 10**9
_END = "sam/end"
_BEATS = "sam/beats/"
FAILED, WRONG_INPUT = 1, 2
_MAX_TEXT = 500


class Several(hosts.Hosts):
  """See `hosts.Hosts`; one of several processes."""

  def __init__(self) -> None:
    state = distributed.global_state
    self._client: Any = state.client
    # Not by JAX's functions, which would start its devices.
    self._index, self._count = state.process_id, state.num_processes
    self.part = self._index, self._count
    self.is_first = self._index == 0
    self._num_told = 0
    self._waiting: tuple[int, ...] = ()
    self._calls, self._period, self._since = 0, 1, time.monotonic()
    self._is_over = False
    self._says = threading.Lock()
    self._watcher = threading.Thread(target=self._watch, daemon=True)
    self._watcher.start()
    if not self.is_first:
      address = state.coordinator_address
      threading.Thread(
        target=self._watch_first, args=(address,), daemon=True
      ).start()

  def devices(self) -> list[jax.Device]:
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    counts = collections.Counter(d.process_index for d in devices)
    if len(set(counts.values())) > 1:
      raise errors.UserError(
        "--hosts: every process must have as many devices; they have"
        f" {', '.join(str(counts[i]) for i in sorted(counts))}"
      )
    return devices

  def mine(self, devices: Sequence[jax.Device]) -> Sequence[jax.Device]:
    return [d for d in devices if d.process_index == self._index]

  def agree(self, *numbers: int) -> tuple[int, ...]:
    none = (0,) * len(numbers)
    waiting = self._waiting or none
    self._waiting = tuple(map(max, waiting, numbers))
    self._calls += 1
    if self._calls < self._period:
      return none
    now = time.monotonic()
    rate = self._calls / max(now - self._since, 1e-9)
    period = min(max(int(_AGREE_SECONDS * rate), 1), _MAX_CALLS)
    mine = np.array([*self._waiting, period], np.int32)
    *agreed, self._period = np.max(
      multihost_utils.process_allgather(mine), axis=0
    ).tolist()
    self._waiting, self._calls, self._since = none, 0, time.monotonic()
    return tuple(agreed)

  def check_same(self, what: str, value: Any) -> None:
    theirs = self.from_first(lambda: value)
    if json.loads(json.dumps(value)) != theirs:
      raise errors.UserError(
        f"{what}: process {self._index} has {value!r}, process 0 {theirs!r}"
      )

  def from_first(self, make: Callable[[], T]) -> T:
    key = f"sam/told/{self._num_told}"
    self._num_told += 1
    if self.is_first:
      value = make()
      self._client.key_value_set(key, json.dumps(value))
      return value
    return json.loads(self._client.blocking_key_value_get(key, _FOREVER_MS))

  def items_from_first(
    self, make: Callable[[], tuple[int, PyTree] | None], like: PyTree
  ) -> tuple[int, PyTree] | None:
    made = make() if self.is_first else None
    step = self.from_first(lambda: None if made is None else made[0])
    if step is None:
      return None
    leaves, tree = jax.tree.flatten(like)
    own = [np.zeros(x.shape, x.dtype) for x in leaves]
    if made is not None:
      own = [np.asarray(x) for x in jax.tree.leaves(made[1])]
    # As bytes, since -0.0 + 0.0 is not -0.0.
    content = np.concatenate(
      [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in own]
    )
    content = np.asarray(multihost_utils.broadcast_one_to_all(content))
    ends = np.cumsum([x.nbytes for x in own])[:-1]
    told = [
      part.view(x.dtype).reshape(x.shape)
      for part, x in zip(np.split(content, ends), own, strict=True)
    ]
    return step, jax.tree.unflatten(tree, told)

  def gather(self, rows: np.ndarray) -> np.ndarray:
    return multihost_utils.process_allgather(rows, tiled=True)

  def leave(self) -> None:
    """Waits for all to end well."""
    multihost_utils.sync_global_devices("end")
    if self.is_first:
      self._client.key_value_set(_END, "")
    self._watcher.join()
    self._is_over = True
    jax.distributed.shutdown()

  def tell(self, error: BaseException) -> None:
    """Lets all end, since this process failed.

    Does not return where it was another one that failed.
    """
    if _LOST.search(str(error)) and not isinstance(error, errors.UserError):
      # It is the watcher who learns which has gone.
      time.sleep(SILENCE_SECONDS + 5)
    self._is_over = True
    code, text = _outcome(error)
    told = {"process": self._index, "code": code, "text": text}
    self._announce(told)
    self._know()
    # JAX's own end would wait for the others, which have gone.
    atexit.register(_exit, code)

  def _announce(self, end: dict[str, Any]) -> None:
    """Says how all end, unless another process was first."""
    with contextlib.suppress(Exception):
      self._client.key_value_set(_END, json.dumps(end))

  def _know(self) -> None:
    """Waits until all know that they end."""
    with contextlib.suppress(Exception):
      self._client.wait_at_barrier("sam/failed", 1000 * LEAVE_SECONDS // 2)
    if self.is_first:
      time.sleep(1)  # What the others still do needs the first.

  def _watch(self) -> None:
    """Looks after the other processes until all have ended."""
    start = time.monotonic()
    heard = {f"{_BEATS}{i}": ("", start) for i in range(self._count)}
    beat = 0
    while True:
      beat += 1
      try:
        self._client.key_value_set(
          f"{_BEATS}{self._index}", str(beat), allow_overwrite=True
        )
        for name, value in self._client.key_value_dir_get(_BEATS):
          if heard[name][0] != value:
            heard[name] = value, time.monotonic()
        told = self._client.blocking_key_value_get(_END, _BEAT_MS)
      except Exception as e:  # JAX's own kind, or ValueError.
        if re.match("DEADLINE_EXCEEDED|NOT_FOUND", str(e)):
          told = None
        else:
          self._end("process 0 has gone")
      if told == "":
        return
      if told:
        end = json.loads(told)
        if "gone" in end:
          self._end(end["gone"])
        if end["process"] == self._index:
          return
        text = f"process {end['process']} failed: {end['text']}"
        self._end(text, end["code"], waits=True)
      for name, (_, since) in heard.items():
        if time.monotonic() - since > SILENCE_SECONDS:
          self._tell_gone(int(name.removeprefix(_BEATS)))

  def _tell_gone(self, index: int) -> NoReturn:
    """Lets all end and say the same, since a process has gone."""
    text = f"process {index} has gone: not heard of for {SILENCE_SECONDS} s"
    self._announce({"gone": text})
    if self.is_first:
      time.sleep(1)  # Whom the others ask.
    self._end(text)

  def _watch_first(self, address: str) -> None:
    """Notices at once when the first process has gone.

    By a connection of its own: JAX aborts then, and lets nobody ask it more.
    """
    name, _, port = address.rpartition(":")
    place = name.strip("[]"), int(port)
    while not self._is_over:
      try:
        link = socket.create_connection(place, timeout=SILENCE_SECONDS)
      except OSError:
        break
      with link, contextlib.suppress(ConnectionError):
        link.settimeout(None)
        while link.recv(1 << 12):
          pass
    if not self._is_over:
      self._end("process 0 has gone")

  def _end(
    self, text: str, code: int = FAILED, *, waits: bool = False
  ) -> NoReturn:
    """Ends this process; `waits` until all know, if none has gone."""
    self._says.acquire()  # One says it; the process ends before others can.
    os.write(2, f"error: {text}\n".encode())
    if waits:
      self._know()
    os._exit(code)


def _outcome(error: BaseException) -> tuple[int, str]:
  """Returns the exit code of a process that failed, and what others say."""
  if isinstance(error, SystemExit):
    return error.code if isinstance(error.code, int) else FAILED, "it ended"
  if isinstance(error, errors.UserError):
    return WRONG_INPUT, str(error)
  text = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_TEXT]
  lacks = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text
  return WRONG_INPUT if lacks else FAILED, text


def _hold_aborts() -> None:
  """Lets the watcher say why, where JAX aborts since the first has gone.

  The thread that aborts then sleeps before it does; the C library's `sleep`
  gets the number of the signal, 6, as seconds.
  """
  libc = ctypes.CDLL(None)
  libc.signal.argtypes = ctypes.c_int, ctypes.c_void_p
  libc.signal.restype = ctypes.c_void_p
  libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


def _give_up() -> NoReturn:
  text = f"not all processes have come within {PATIENCE_SECONDS} s"
  os.write(2, f"error: --hosts: {text}\n".encode())
  os._exit(WRONG_INPUT)


def _exit(code: int) -> NoReturn:
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def _check(address: str, *, binds: bool) -> None:
  """Raises `UserError` for an address that JAX would crash with.

  Args:
    address: ADDRESS:PORT.
    binds: whether it must be one of this machine, and free.
  """
  name, _, port = address.rpartition(":")
  try:
    found = socket.getaddrinfo(
      name.strip("[]"), int(port), type=socket.SOCK_STREAM
    )
    if binds:
      family, *_, place = found[0]
      with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
  except OSError as e:
    raise errors.UserError(
      f"--hosts={address}: cannot be used by the first process ({e.strerror})"
    ) from e


@contextlib.contextmanager
def connected(place: tuple[str, int, int] | None) -> Iterator[Several]:
  """Connects this process to the others; when it fails, all end.

  Args:
    place: ADDRESS:PORT of the first process, number of processes, and which of
      them this is; None: as JAX finds out (SLURM, Open MPI, TPU pods).

  Raises:
    UserError: the others do not come.
  """
  # It would take SIGTERM for itself.
  jax.config.update("jax_enable_preemption_service", False)
  given: dict[str, Any] = {}
  if place is not None:
    address, count, index = place
    _check(address, binds=index == 0)
    given = {
      "coordinator_address": address,
      "num_processes": count,
      "process_id": index,
      "coordinator_bind_address": address,  # Not all interfaces.
    }
  # JAX itself ends with a page.
  late = threading.Timer(PATIENCE_SECONDS, _give_up)
  late.daemon = True
  late.start()
  try:
    jax.distributed.initialize(
      **given,
      initialization_timeout=2 * PATIENCE_SECONDS,
      heartbeat_timeout_seconds=JAX_SILENCE_SECONDS,
      shutdown_timeout_seconds=LEAVE_SECONDS,
    )
  except Exception as e:  # JAX's own kind, or ValueError.
    what = "finds no cluster" if place is None else "cannot connect"
    reason = str(e).splitlines()[0]
    raise errors.UserError(f"--hosts: {what} ({reason})") from e
  finally:
    late.cancel()
  _hold_aborts()
  several = Several()
  try:
    yield several
    several.leave()
  except BaseException as e:
    several.tell(e)
    raise
