"""Decoded data sets, kept as .npy files and mapped into memory.

They lie beside XLA's compiled programs, in ~/.cache/sam-overparam-data, so that
a shell loop imports TensorFlow and decodes images once. The environment
variable SAM_OVERPARAM_DATA_CACHE names another folder, or is 'off'.
"""

from collections.abc import Callable, Iterable, Mapping
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import zlib

import numpy as np

ENVIRONMENT = "SAM_OVERPARAM_DATA_CACHE"
OFF = "off"
# Of the files: what each array's file must hold. It is written last.
_SUMS = "crc32.json"
Arrays = dict[str, np.ndarray]


def folder() -> pathlib.Path | None:
  """Returns where decoded data is kept; None: nowhere."""
  chosen = os.environ.get(ENVIRONMENT)
  if chosen is not None:
    return None if chosen in ("", OFF) else pathlib.Path(chosen).absolute()
  cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  if not os.path.isabs(cache):  # There is no home.
    return None
  return pathlib.Path(cache) / "sam-overparam-data"


def load(
  name: str, source: Iterable[pathlib.Path], make: Callable[[], Arrays]
) -> Arrays:
  """Returns arrays that were kept, or makes and keeps them.

  What cannot be kept, for instance on a full disk, is only made.

  Args:
    name: of the data set and its version.
    source: the files of which the arrays are made; where one of them has
      changed its size or time, they are made anew.
    make: returns the arrays by name.
  """
  root = folder()
  if root is None:
    return make()
  path = root / f"{name}-{_digest(source)}"
  found = _read(path)
  if found is None:
    found = make()
    _keep(path, found)
  return found


def _digest(source: Iterable[pathlib.Path]) -> str:
  facts = [
    (str(path), path.stat().st_size, path.stat().st_mtime_ns)
    for path in sorted(source)
  ]
  return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _read(path: pathlib.Path) -> Arrays | None:
  """Returns the arrays of a folder; None if they are not there, or damaged."""
  try:
    sums = json.loads((path / _SUMS).read_bytes())
    arrays = {}
    for name, expected in sums.items():
      file = path / f"{name}.npy"
      if _sum(file) != expected:
        return None
      arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
    return arrays
  except (OSError, ValueError, AttributeError):
    return None


def _sum(file: pathlib.Path) -> int:
  return zlib.crc32(np.memmap(file, mode="r").data)


def _keep(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes a folder that is there whole, or not at all."""
  temporary = None
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=".", dir=path.parent))
    for name, array in arrays.items():
      np.save(temporary / f"{name}.npy", array, allow_pickle=False)
    sums = {name: _sum(temporary / f"{name}.npy") for name in arrays}
    (temporary / _SUMS).write_text(json.dumps(sums))
    shutil.rmtree(path, ignore_errors=True)  # It was damaged.
    temporary.rename(path)
  except OSError:
    # Another process may have been first, or nothing may be written here.
    if temporary is not None:
      shutil.rmtree(temporary, ignore_errors=True)
