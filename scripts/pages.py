"""Pages of docs/ with tables that a program writes."""

from collections.abc import Iterable, Sequence
import pathlib
import re

DOCS = pathlib.Path(__file__).parents[1] / "docs"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
  """Returns a table in Markdown.

  Args:
    head: names of the columns.
    lines: cells of each row.
  """
  rows = [head, ["---"] * len(head), *lines]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def write(page: pathlib.Path, text: str) -> None:
  """Replaces what stands between the two marks of a page."""
  mark = "<!-- table -->\n"
  before = page.read_text()
  begin, end = (m.start() for m in re.finditer(mark, before))
  page.write_text(f"{before[:begin]}{mark}\n{text}\n\n{before[end:]}")
