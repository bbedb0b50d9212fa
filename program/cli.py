"""Command lines: a wrong one ends the program with one line."""

import argparse
import os
import pathlib
import re
import sys
from typing import Any, NoReturn

# What a line shows of a longer message: so much of its beginning, which names
# a value, and of its end, which says what is allowed.
_BEGIN = 200
_END = 400


def fail(message: str) -> NoReturn:
  """Ends the program for wrong input: one line, exit code 2."""
  print(f"error: {one_line(message)}", file=sys.stderr)
  sys.exit(2)


def one_line(message: str) -> str:
  """Returns a message in one line, without the middle of a long one."""
  text = " ".join(message.split())
  if len(text) > _BEGIN + _END:
    text = f"{text[:_BEGIN]} ... {text[-_END:]}"
  return text


def check_folder(flag: str, value: str | None) -> None:
  """Ends the program if the path of a flag can be no folder.

  Args:
    flag: its name.
    value: its path; None: the flag was not given.
  """
  if value is None:
    return
  if not value:
    fail(f"--{flag}='': must be a folder")
  path = pathlib.Path(value).absolute()
  for place in (path, *path.parents):
    try:
      if place.is_dir():
        return
      if place.exists():
        fail(f"--{flag}={value!r}: must be a folder, but {place} is none")
    except OSError as e:  # A name that is too long.
      fail(f"--{flag}={value!r}: must be a folder ({e.strerror})")


def path(value: str) -> str:
  """Returns the path of a flag, with the home folder in the place of `~`.

  A shell replaces it in `~/runs`, but not in `--workdir=~/runs`.
  """
  expanded = os.path.expanduser(value)
  if expanded.startswith("~"):
    fail(
      f"{value!r}: there is no such user; a folder of that name is ./{value}"
    )
  return expanded


def host(value: str) -> tuple[str, int, int] | None:
  """Returns ADDRESS:PORT, COUNT and INDEX of --hosts; None: of 'auto'."""
  if value == "auto":
    return None
  wanted = "must be 'auto' or ADDRESS:PORT,COUNT,INDEX"
  match = re.fullmatch(r"(\S+:(\d{1,5})),(\d{1,6}),(\d{1,6})", value, re.ASCII)
  if match is None:
    fail(f"--hosts={value!r}: {wanted}")
  port, count, index = map(int, match.groups()[1:])
  if not 1 <= port < 1 << 16:
    fail(f"--hosts={value!r}: {wanted}, with a PORT of 1 to 65535")
  if index >= count:
    fail(f"--hosts={value!r}: {wanted}, with an INDEX of 0 to COUNT - 1")
  return match[1], count, index


class Parser(argparse.ArgumentParser):
  """Ends the program for a wrong flag as for other wrong input."""

  def __init__(self, description: str | None):
    super().__init__(
      description=description,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )

  def error(self, message: str) -> NoReturn:
    fail(message)

  def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
    parsed = super().parse_args(args, namespace)
    for name, value in vars(parsed).items():
      # argparse takes `--NAME=--` for no value at all, and returns a list.
      if value == []:
        self.error(f"--{name}='--': needs a value")
    return parsed
