"""The house: which rooms may import which, and the way to the step."""

import ast

import pytest

from scripts import architecture


@pytest.fixture(scope="module")
def graph():
  return architecture.arrows(architecture.sources())


def test_only_allowed_arrows(graph):
  assert graph.keys() == architecture.ALLOWED.keys()
  for room, targets in graph.items():
    forbidden = targets - architecture.ALLOWED[room]
    assert not forbidden, f"{room} must not import {forbidden}"
    unused = architecture.ALLOWED[room] - targets
    assert not unused, f"{room} no longer imports {unused}"


def test_no_circle_and_few_floors(graph):
  floors = architecture.floors(graph)
  assert max(floors.values()) <= 7
  with pytest.raises(ValueError, match="a circle"):
    architecture.floors({"a": {"b"}, "b": {"a"}})


def test_five_modules_in_the_root():
  in_root = {p.name for p in architecture.sources() if len(p.parts) == 1}
  assert in_root == {
    "main.py",
    "report.py",
    "sharpness_report.py",
    "study.py",
    "train.py",
  }


def test_one_file_knows_the_axis_of_runs():
  """No other one of training/ maps over runs, but for keys and examples."""
  for path in architecture.sources():
    if path.parts[0] != "training" or path.name == "run_axis.py":
      continue
    for node in ast.walk(ast.parse((architecture.ROOT / path).read_text())):
      if isinstance(node, ast.Attribute) and node.attr == "vmap":
        assert ast.unparse(node) == "run_axis.vmap" or path.name in (
          "step.py",  # Keys of examples.
          "state.py",  # A batch on one device, for SNIP.
        ), path


def test_one_file_knows_of_other_processes():
  """Of JAX's; what else needs them asks `hosts.Hosts`."""
  names = {"process_index", "process_count", "multihost_utils"}
  for path in architecture.sources():
    text = (architecture.ROOT / path).read_text()
    for node in ast.walk(ast.parse(text)):
      known = getattr(node, "attr", getattr(node, "name", None))
      if known in names or (
        isinstance(node, ast.Attribute)
        and ast.unparse(node) == "jax.distributed"
      ):
        assert path.name == "several.py", path


def test_without_the_flag_processes_are_not_asked_for():
  """No module imports at its head the one that knows of them."""
  for path in architecture.sources():
    tree = ast.parse((architecture.ROOT / path).read_text())
    for node in tree.body:
      if isinstance(node, ast.ImportFrom) and node.module == "training":
        assert "several" not in [alias.name for alias in node.names], path


def test_few_functions_between_entrance_and_step():
  frames = architecture.frames_to_step()
  assert frames[0] == "train.py:train_and_evaluate"
  assert len(frames) <= 5, frames
