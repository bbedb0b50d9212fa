"""Command lines: a wrong one ends the program with one line."""

import argparse
import sys
from typing import NoReturn


def fail(message: str) -> NoReturn:
  """Ends the program for wrong input: one line, exit code 2."""
  print("error: " + " ".join(message.split()), file=sys.stderr)
  sys.exit(2)


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
