"""Every field refuses a wrong value, and is read."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from configs import fields
from configs.fields.field import Field
from tests import entrance

BASE = entrance.BASE
# Folders whose sources are not the program's.
NOT_PROGRAM = {"benchmarks", "build", "configs", "run_folder", "runs", "tests"}
WRONG_KIND = {int: "1.5", float: "wide", bool: "maybe", tuple: "('a',)"}
WRONG_ENTRY = {int: "(1.5,)", float: "('a',)"}
# On the command line everything is a text; only a config file can err.
WRONG_KIND_IN_FILE = {str: 3}
NAME_OF_KIND = {
  int: "an integer",
  float: "a finite number",
  bool: "True or False",
}
NAME_OF_ENTRIES = {
  int: "a tuple of integers",
  float: "a tuple of finite numbers",
}
# What cannot be out of range, by kind or name, and why.
NO_RANGE = {
  bool: "has no third value",
  "data_file": "any text may be a file; refused later, see test_npz",
  "model_args": "is parsed; see test_own",
  "perturb_only": "any text may be a pattern; see test_perturbed",
  "perturb_except": "any text may be a pattern; see test_perturbed",
  "init_from": "any text may be a folder; refused later, see test_init_from",
}


def out_of_range(field: Field) -> list[str]:
  """Returns values of the right kind that the field's declaration excludes."""
  if field.each:
    one = field.each
    least = one.minimum + 1 if one.kind is int else 0.5
    outside = [v for v in out_of_range(one) if v not in ("nan", "inf")]
    return [f"({least}, {least})", *(f"({v},)" for v in outside)]
  if field.choices:
    return ["no_such_choice"]
  is_float = float in (field.kind, field.kind is tuple and field.entries)
  step = 0.001 if is_float else 1
  values = [
    *(field.minimum - step for _ in [0] if field.minimum is not None),
    *(field.maximum + step for _ in [0] if field.maximum is not None),
    *(end for end in (field.above, field.below) if end is not None),
  ]
  if field.kind is float:
    values += [float("nan"), float("inf")]
  return [f"({v},)" if field.kind is tuple else str(v) for v in values]


def ends(field: Field) -> list[str]:
  """Returns the ends of the range, as a person writes them."""
  field = field.each or field
  declared = (field.minimum, field.maximum, field.above, field.below)
  return [
    str(int(end) if end == int(end) else end)
    for end in declared
    if end is not None
  ]


def kind_cases() -> Iterator[Any]:
  for name, field in fields.FIELDS.items():
    if field.kind in WRONG_KIND:
      value = WRONG_KIND[field.kind]
      if field.kind is tuple and not field.each:
        value = WRONG_ENTRY[field.entries]
      yield pytest.param(name, value, id=f"{name}={value}")


def file_cases() -> Iterator[Any]:
  for name, field in fields.FIELDS.items():
    if field.kind in WRONG_KIND_IN_FILE:
      value = WRONG_KIND_IN_FILE[field.kind]
      yield pytest.param(name, value, id=f"{name}={value}")


def range_cases() -> Iterator[Any]:
  for name, field in fields.FIELDS.items():
    for value in out_of_range(field):
      yield pytest.param(name, value, id=f"{name}={value}")


@pytest.mark.parametrize("name", fields.FIELDS)
def test_every_field_has_cases(name):
  field = fields.FIELDS[name]
  kinds = [field.kind in WRONG_KIND, field.kind in WRONG_KIND_IN_FILE]
  assert sum(kinds) == 1
  has_no_range = field.kind in NO_RANGE or name in NO_RANGE
  assert bool(out_of_range(field)) != has_no_range


@pytest.mark.parametrize("name", fields.FIELDS)
def test_what_a_field_declares_is_allowed(name):
  field = fields.FIELDS[name]
  assert field.accepts(field.default)
  for value in (*field.choices, field.minimum, field.maximum):
    if value is not None:
      assert field.accepts((value,) if field.kind is tuple else value)


def assert_explains(line: str, name: str, value: Any) -> None:
  """The line names the field, its value and all that is allowed."""
  field = fields.FIELDS[name]
  typed, quoted = (f"config.{name}={v}: must be " for v in (value, repr(value)))
  assert line.startswith((typed, quoted))
  allowed = line.split(": must be ")[1]
  expected = [repr(c) for c in field.choices] or ends(field)
  if field.each:
    expected += ["a tuple", NAME_OF_KIND[field.each.kind]]
  elif field.kind is tuple:
    expected.append(NAME_OF_ENTRIES[field.entries])
  elif field.kind in NAME_OF_KIND:
    expected.append(NAME_OF_KIND[field.kind])
  for part in expected:
    assert part in allowed


@pytest.mark.parametrize(("name", "value"), [*kind_cases()])
def test_wrong_kind(refused, name, value):
  assert_explains(refused(BASE, f"--config.{name}={value}"), name, value)


@pytest.mark.parametrize(("name", "value"), [*file_cases()])
def test_wrong_kind_in_file(refused, config_file, name, value):
  path = config_file(f"  config.{name} = {value!r}\n  return config")
  assert_explains(refused(f"--config={path}"), name, value)


@pytest.mark.parametrize(("name", "value"), [*range_cases()])
def test_out_of_range(refused, name, value):
  assert_explains(refused(BASE, f"--config.{name}={value}"), name, value)


@pytest.mark.parametrize("name", fields.FIELDS)
def test_no_number_is_senseless(name):
  """Whatever Python can hold: also what no float can."""
  field = fields.FIELDS[name]
  one = field.each or field
  if not {one.kind, one.kind is tuple and one.entries} & {int, float}:
    return
  if field.kind is tuple and not field.each:
    assert not field.accepts((one.minimum or 0.5,) * 1001)
  for value in (10**400, 10**39, 2**31 * 1e29, 1e308, float("inf")):
    for signed in (value, -value, float("nan")):
      assert not field.accepts((signed,) if field.kind is tuple else signed)


@pytest.mark.parametrize(
  ("name", "hint"),
  [
    ("lr", "did you mean 'learning_rate'?"),
    ("wd", "did you mean 'weight_decay'?"),
    ("epochs", "did you mean 'num_epochs'?"),
    ("bs", "did you mean 'batch_size'?"),
    ("width", "did you mean 'num_neurons' or 'num_filters' or 'hidden_size'?"),
    ("sweep.lr", "did you mean 'sweep.learning_rate'?"),
    ("sweep.rhos", "did you mean 'sweep.rho'?"),
    ("sweep.num_neurons", "the runs of a sweep have one shape; several are"),
    ("sweep.width", "the runs of a sweep have one shape; several are"),
    ("sweep.momentum", "a sweep has label_noise, sparsity, learning_rate,"),
    ("sweep.zzz", "a sweep has label_noise, sparsity, learning_rate,"),
  ],
)
def test_what_is_meant(name, hint):
  line = fields.unknown_field(name)
  assert line.startswith(f"config.{name}: there is no such field; {hint}")


def test_aliases_are_of_fields():
  for alias, names in fields.ALIASES.items():
    assert alias not in fields.FIELDS
    assert set(names) <= set(fields.FIELDS)


# --- nothing is silently ignored ----------------------------------------------


def read_names() -> set[str]:
  """Returns the names that the program reads from a config."""
  names = set()
  for path in entrance.ROOT.rglob("*.py"):
    folders = path.relative_to(entrance.ROOT).parts[:-1]
    # run_folder/ only names and compares runs.
    if any(f in NOT_PROGRAM or f.startswith(".") for f in folders):
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, (ast.Attribute, ast.Subscript)):
        continue
      owner = ast.unparse(node.value).split(".")[-1]
      if owner not in ("c", "config", "hparams", "run"):
        continue
      if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        names.add(node.attr)
      elif isinstance(node, ast.Subscript):
        names.add(ast.unparse(node.slice).strip("'"))
  return names


@pytest.fixture(scope="module")
def names_in_program() -> set[str]:
  return read_names()


@pytest.mark.parametrize("name", fields.FIELDS)
def test_every_field_is_read(names_in_program, name):
  # What is swept is read by its name in a table; see test_sweep.py.
  read = "sweep" if fields.FIELDS[name].each else name
  assert read in names_in_program


@pytest.mark.parametrize("name", fields.FIELDS)
def test_what_a_field_depends_on_exists(name):
  bases = ("sgd", "adam", "adamw")
  for other, values in fields.FIELDS[name].read_if.items():
    if other == "sweep":
      continue
    choices = bases if other == "base" else fields.FIELDS[other].choices
    if isinstance(values, tuple) and choices:
      assert set(values) <= set(choices)
