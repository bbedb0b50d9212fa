"""Reads and writes files: whole or not at all, and never through a link.

Who trains in a folder that somebody else made would write elsewhere by a
symbolic link in it.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import errno
import json
import os
import pathlib
from typing import IO, Any

from configs import errors

Record = dict[str, Any]
# What reading a file of another shape raises.
WRONG_SHAPE = (
  OSError,
  ValueError,
  LookupError,
  TypeError,
  AttributeError,
  errors.ConfigError,
)
_NO_SPACE = "No space left on the disk"


class RunError(errors.UserError):
  """A run folder that cannot be used."""


@contextlib.contextmanager
def usable(place: str | os.PathLike[str]) -> Iterator[None]:
  """Raises `RunError` for what cannot be read or written in this place."""
  try:
    yield
  except WRONG_SHAPE as e:
    raise RunError(f"{place}: cannot be used ({reason(e)})") from e


def reason(error: BaseException) -> str:
  """Returns in a line why something could not be read or written."""
  cause: BaseException | None = error
  while cause is not None:
    code = cause.errno if isinstance(cause, OSError) else None
    # Orbax writes by a library that has the system's words alone.
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(cause):
      return _NO_SPACE
    cause = cause.__cause__ or cause.__context__
  if isinstance(error, OSError) and error.errno == errno.ELOOP:
    return f"{error.filename} is a symbolic link"
  return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def refuse_links(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
  """Raises `RunError` if one of these in a folder is a symbolic link."""
  for name in names:
    if os.path.islink(os.path.join(folder, name)):
      raise RunError(
        f"{folder}: {name} is a symbolic link; nothing is written through one"
      )


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[IO[bytes]]:
  """Opens a file to write, which takes the place of another once it is whole.

  Raises:
    OSError: it cannot be written; then the other is as it was.
  """
  temporary = path.with_name(f".{path.name}.tmp")
  # Of a killed process, or somebody's link.
  temporary.unlink(missing_ok=True)
  try:
    with open(temporary, "xb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Writes a file that is either whole or not there; see `replacing`."""
  with replacing(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: pathlib.Path, record: Mapping[str, Any]) -> None:
  """Writes a JSON object; see `write`."""
  write(path, json.dumps(record, indent=2) + "\n")


def parse(text: bytes) -> Any:
  """Returns a JSON value.

  Raises:
    ValueError: the text holds none.
  """
  try:
    return json.loads(text)
  except RecursionError as e:
    raise ValueError("JSON that is nested too deeply") from e


def read_object(path: pathlib.Path) -> Record:
  """Returns a JSON object that a file holds.

  Raises:
    OSError: it cannot be read.
    ValueError: it holds something else.
  """
  found = parse(path.read_bytes())
  if not isinstance(found, dict):
    raise ValueError(f"{path.name} holds no JSON object, but {found!r:.60}")
  return found


def open_end(path: pathlib.Path) -> int:
  """Opens a file to add to its end; returns its descriptor."""
  flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
  return os.open(path, flags, 0o666)


class Lines:
  """A file of JSON lines that grows, each on its way to disk at once."""

  def __init__(self, path: pathlib.Path):
    """Opens it; half a line at its end is cut off.

    Raises:
      OSError: it cannot be written.
    """
    # Unbuffered: what was not written whole is not written again at the end.
    self._file = os.fdopen(open_end(path), "ab", buffering=0)
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    try:
      parse(content[end:] or b"0")
    except ValueError:
      os.truncate(self._file.fileno(), end)
    else:
      self._file.write(b"\n" if content[end:] else b"")

  def add(self, line: Record) -> None:
    content = memoryview((json.dumps(line) + "\n").encode())
    while content:
      content = content[self._file.write(content) :]

  def sync(self) -> None:
    """Waits until the lines are on disk."""
    os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()

  def __enter__(self) -> "Lines":
    return self

  def __exit__(self, *error: Any) -> None:
    self.close()
