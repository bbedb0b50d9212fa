"""What the documentation names is there."""

import pathlib
import re

REFERENCE = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_names_of_the_theory_page():
  references = set(
    REFERENCE.findall(pathlib.Path("docs/theory.md").read_text())
  )
  assert len(references) > 50
  for path, name in references:
    definition = rf"^ *(def|class) {name}\b|^{name}\b.* = "
    text = pathlib.Path(path).read_text()
    assert re.search(definition, text, re.MULTILINE), f"{path}::{name}"


def test_figures_of_the_readme():
  figures = re.findall(
    r"\(docs/(\w+\.png)\)", pathlib.Path("README.md").read_text()
  )
  assert set(figures) == {p.name for p in pathlib.Path("docs").glob("*.png")}
