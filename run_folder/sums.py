"""The digests of a checkpoint's files, by which damage is noticed.

Orbax returns wrong numbers for most changed bytes without a word.
"""

import hashlib
import pathlib

from run_folder import disk

SUMS = "SHA256SUMS"


def _digests(path: pathlib.Path) -> dict[str, str]:
  """Returns the SHA-256 digest of every file of a checkpoint, by its name."""
  digests = {}
  for file in sorted(path.rglob("*")):
    if file.is_file() and file.name != SUMS:
      with open(file, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
      digests[str(file.relative_to(path))] = digest
  return digests


def write(path: pathlib.Path) -> None:
  """Lists the files of a checkpoint."""
  digests = _digests(path)
  disk.write(
    path / SUMS, "".join(f"{d}  {name}\n" for name, d in digests.items())
  )


def damage(path: pathlib.Path) -> str | None:
  """Returns what is wrong with the files of a checkpoint, or None."""
  try:
    lines = (path / SUMS).read_text().splitlines()
    noted = {name: digest for digest, name in (x.split("  ", 1) for x in lines)}
    found = _digests(path)
  except FileNotFoundError:
    return f"{SUMS} is missing"
  except (OSError, ValueError) as e:
    return disk.reason(e)
  for name in sorted(noted.keys() | found.keys()):
    if name not in found:
      return f"{name} is missing"
    if noted.get(name) != found[name]:
      return f"{name} has changed"
  return None
