"""Where tests keep what XLA compiled, for the next time that they run.

What a program is compiled to depends on JAX, its options and the processor. JAX
tells apart all but the last.
"""

import atexit
import hashlib
import pathlib
import platform
import shutil
import tempfile

_KEPT = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"
_MOST_BYTES = 2**30


def _processor() -> str:
  """Returns a name that is the same for processors with the same features."""
  lines = [platform.machine()]
  info = pathlib.Path("/proc/cpuinfo")
  if info.exists():
    found = info.read_text().splitlines()
    lines += [x for x in found if x.startswith(("model name", "flags"))][:2]
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def folder() -> pathlib.Path:
  """Returns the folder, which is emptied when it is full.

  If nothing can be kept here, it is one that is deleted at the end.
  """
  path = _KEPT / _processor()
  try:
    path.mkdir(parents=True, exist_ok=True)
    if sum(p.stat().st_size for p in path.iterdir()) > _MOST_BYTES:
      shutil.rmtree(path)
      path.mkdir()
    with tempfile.TemporaryFile(dir=path):
      return path
  except OSError:
    path = pathlib.Path(tempfile.mkdtemp(prefix="jax-cache-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
