"""What the documentation names is there: files, pictures, anchors, fields."""

import collections
import pathlib
import re

import pytest

from configs.fields import FIELDS
from scripts import architecture
from sharpness import measures

PAGES = [
  pathlib.Path("README.md"),
  pathlib.Path("CONTRIBUTING.md"),
  *sorted(pathlib.Path("docs").glob("*.md")),
]
LINK = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")
REFERENCE = re.compile(r"`([\w/]+\.py)::(\w+)`")
# Paths of files of this repository, in commands too, and folders in backticks.
FILE = re.compile(r"(?<![\w/.<-])((?:[\w.-]+/)*[\w.-]+\.(?:py|sh|toml|yml))\b")
DEEP_FILE = re.compile(
  r"(?<![\w/.<-])((?:[\w.-]+/)+[\w.-]+\.(?:json|csv|md))\b"
)
FOLDER = re.compile(r"`((?:[\w.-]+/)+)`")
MODULE = re.compile(r"-m (benchmarks\.\w+)")
# Folders that runs and studies make.
MADE = {"runs/", "checkpoints/", "snapshots/", "cells/"}
# Files of the published code.
PUBLISHED = {
  "configs/mnist_mlp.py",
  "configs/cifar10_resnet18.py",
  "configs/imagenet_resnet50.py",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=str)


def links(page: pathlib.Path) -> list[tuple[bool, str, str]]:
  """Returns (is a picture, path, anchor) of what a page of ours links to."""
  text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
  found = []
  for bang, target in LINK.findall(text):
    if "://" not in target:
      path, _, anchor = target.partition("#")
      linked = page.parent / path if path else page
      found.append((bool(bang), linked.resolve(), anchor))
  return found


def anchors(page: pathlib.Path) -> set[str]:
  """Returns the anchors that GitHub gives to the headings of a page."""
  text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
  headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
  plain = [re.sub(r"[^\w\- ]", "", h.lower()) for h in headings]
  return {h.strip().replace(" ", "-") for h in plain}


def is_placeholder(path: str) -> bool:
  """Whether a path is made up: studies/X.py, my_study.py, runs/NAME."""
  name = pathlib.PurePath(path).stem
  return name.isupper() or name.startswith("my_") or path.startswith("runs/")


@every_page
def test_links(page):
  for _, path, anchor in links(page):
    assert path.exists(), path
    assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_every_figure_is_shown():
  shown = {
    p for page in PAGES for is_picture, p, _ in links(page) if is_picture
  }
  figures = {p.resolve() for p in pathlib.Path("docs").glob("*.png")}
  assert shown == figures


@every_page
def test_paths(page):
  text = page.read_text()
  paths = {*FILE.findall(text), *DEEP_FILE.findall(text)} - PUBLISHED
  paths |= set(FOLDER.findall(text)) - MADE
  paths |= {f"{m.replace('.', '/')}.py" for m in MODULE.findall(text)}
  missing = [
    p
    for p in sorted(paths)
    if not is_placeholder(p)
    and not pathlib.Path(p).exists()
    and not (page.parent / p).exists()
  ]
  assert not missing


@every_page
def test_names_in_files(page):
  references = set(REFERENCE.findall(page.read_text()))
  for path, name in references:
    definition = rf"^ *(def|class) {name}\b|^{name}\b.* = "
    text = pathlib.Path(path).read_text()
    assert re.search(definition, text, re.MULTILINE), f"{path}::{name}"
  assert len(references) > 50 or page.name != "theory.md"


@every_page
def test_config_fields(page):
  fields = re.findall(r"--config\.([\w.]+)", page.read_text())
  assert {f for f in fields if not f.isupper()} <= set(FIELDS)


def rows(page: str) -> list[list[str]]:
  """Returns the cells of the rows of all tables of a page."""
  lines = pathlib.Path(page).read_text().splitlines()
  return [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in lines
    if line.startswith("|")
  ]


def test_the_allowed_arrows_are_those_of_the_script():
  arrows = {
    room.strip("`"): set(re.findall(r"`([\w/]+)`", allowed))
    for room, allowed in (
      c for c in rows("docs/architecture.md") if len(c) == 2
    )
  }
  assert {room: arrows.get(room) for room in architecture.ALLOWED} == dict(
    architecture.ALLOWED
  )


def test_what_there_is_is_described():
  configs = {
    path.stem
    for path in pathlib.Path("configs").glob("*.py")
    if "def get_config" in path.read_text() and path.stem != "base"
  }
  studies = {path.stem for path in pathlib.Path("studies").glob("[!_]*.py")}
  pages = {"data": configs, "studies": studies, "sharpness": measures.MEASURES}
  for page, names in pages.items():
    first = " ".join(cells[0] for cells in rows(f"docs/{page}.md"))
    assert not [name for name in names if f"`{name}`" not in first], page


def test_verdicts_are_counted():
  """In both tables of claims: of the present rule, and of an earlier one."""
  counts: dict[str, collections.Counter] = {}
  study, column = "", 0
  for cells in rows("docs/claims.md"):
    if cells[0] == "study":
      column = cells.index("verdict")
    elif not cells[0].startswith("-"):
      study = cells[0].split("`")[1] if cells[0] else study
      verdict = cells[column].removesuffix("\\*")
      counts.setdefault(study, collections.Counter())[verdict] += 1
  verdicts = ("holds", "undecided", "does not hold")
  table = {
    c[0].strip("`"): c[4] for c in rows("docs/studies.md") if len(c) == 6
  }
  for name, count in counts.items():
    assert table[name] == ", ".join(str(count[v]) for v in verdicts)
  total = sum(counts.values(), collections.Counter())
  number = f"all {total.total()} claims"
  assert number in pathlib.Path("docs/studies.md").read_text()
  readme = " ".join(pathlib.Path("README.md").read_text().split())
  assert number in readme
  assert f"numbers: {total['holds']} hold, {total['undecided']} are" in readme
