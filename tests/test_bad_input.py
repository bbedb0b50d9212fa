"""Wrong input ends main.py with one line, before anything is compiled.

All of it is tested on the program itself, started from an empty folder.
"""

import ast
from collections.abc import Callable, Iterator
import dataclasses
import importlib
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from configs import base
from tests import helpers

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
CONFIG_FILES = sorted(set(CONFIGS.glob("[!_]*.py")) - {CONFIGS / "base.py"})
# All fields at their defaults.
BASE = f"--config={CONFIGS / 'base.py'}"
DIGITS = CONFIGS / "mlp_digits.py"
# Folders whose sources are not the program's.
NOT_PROGRAM = {"benchmarks", "build", "configs", "runs", "tests"}

Refused = Callable[..., str]


@dataclasses.dataclass
class Outcome:
  code: int
  out: str
  err: str


def snapshot(folder: pathlib.Path) -> dict[str, int]:
  """Returns the files and folders below a folder, with when they changed."""
  return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture(scope="session")
def start(tmp_path_factory) -> Callable[..., Outcome]:
  """Starts main.py; with `jax=False`, it must not even import JAX."""
  no_jax = tmp_path_factory.mktemp("no_jax")
  for name in ("jax", "numpy", "tensorflow"):
    (no_jax / f"{name}.py").write_text("raise RuntimeError('imported')\n")

  def start_(
    *args: str, cwd: pathlib.Path, jax: bool = False, devices: int = 1
  ) -> Outcome:
    env = os.environ | {
      "JAX_LOG_COMPILES": "1",
      "JAX_PLATFORMS": "cpu",
      # What Python leaves beside a config is not the program's.
      "PYTHONDONTWRITEBYTECODE": "1",
      "PYTHONPATH": "" if jax else str(no_jax),
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    done = subprocess.run(
      [sys.executable, str(ROOT / "main.py"), *args],
      cwd=cwd,
      env=env,
      capture_output=True,
      text=True,
      timeout=helpers.PATIENCE,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)

  return start_


@pytest.fixture
def refused(start, tmp_path) -> Refused:
  """Starts main.py on wrong input and returns its one line, less 'error: '."""

  def refused_(*args: str, **kwargs: Any) -> str:
    before = snapshot(tmp_path)
    done = start(*args, cwd=tmp_path, **kwargs)
    assert snapshot(tmp_path) == before, "something was written"
    lines = done.err.splitlines()
    compiled = [line for line in lines if "Compiling" in line]
    assert not compiled
    # JAX also logs what is only traced, for its shapes.
    lines = [line for line in lines if "Finished tracing" not in line]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert done.out == ""
    assert done.code == 2
    return lines[0].removeprefix("error: ")

  return refused_


@pytest.fixture
def config_file(tmp_path) -> Callable[[str], pathlib.Path]:
  """Writes a config file whose get_config() ends with the given lines."""

  def write(lines: str) -> pathlib.Path:
    path = tmp_path / "mine.py"
    path.write_text(
      "from configs import base\n\n\ndef get_config():\n"
      f"  config = base.get_config()\n{lines}\n"
    )
    return path

  return write


@pytest.fixture(scope="module")
def finished_run(start, tmp_path_factory) -> tuple[pathlib.Path, Outcome]:
  """Trains for one step; one flag sets a field that the run does not read."""
  cwd = tmp_path_factory.mktemp("finished")
  workdir = cwd / "run"
  done = start(
    BASE,
    "--config.num_neurons=(2,)",
    "--config.num_train_steps=1",
    "--config.adam_b1=0.8",
    f"--workdir={workdir}",
    cwd=cwd,
    jax=True,
  )
  assert done.code == 0, done.err
  return workdir, done


# --- every field --------------------------------------------------------------

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
  "init_from": "any text may be a folder; refused later, see test_init_from",
}


def out_of_range(field: base.Field) -> list[str]:
  """Returns values of the right kind that the field's declaration excludes."""
  if field.each:
    one = base.FIELDS[field.each]
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


def ends(field: base.Field) -> list[str]:
  """Returns the ends of the range, as a person writes them."""
  field = base.FIELDS[field.each] if field.each else field
  declared = (field.minimum, field.maximum, field.above, field.below)
  return [
    str(int(end) if end == int(end) else end)
    for end in declared
    if end is not None
  ]


def kind_cases() -> Iterator[Any]:
  for name, field in base.FIELDS.items():
    if field.kind in WRONG_KIND:
      value = WRONG_KIND[field.kind]
      if field.kind is tuple and not field.each:
        value = WRONG_ENTRY[field.entries]
      yield pytest.param(name, value, id=f"{name}={value}")


def file_cases() -> Iterator[Any]:
  for name, field in base.FIELDS.items():
    if field.kind in WRONG_KIND_IN_FILE:
      value = WRONG_KIND_IN_FILE[field.kind]
      yield pytest.param(name, value, id=f"{name}={value}")


def range_cases() -> Iterator[Any]:
  for name, field in base.FIELDS.items():
    for value in out_of_range(field):
      yield pytest.param(name, value, id=f"{name}={value}")


@pytest.mark.parametrize("name", base.FIELDS)
def test_every_field_has_cases(name):
  field = base.FIELDS[name]
  kinds = [field.kind in WRONG_KIND, field.kind in WRONG_KIND_IN_FILE]
  assert sum(kinds) == 1
  has_no_range = field.kind in NO_RANGE or name in NO_RANGE
  assert bool(out_of_range(field)) != has_no_range


@pytest.mark.parametrize("name", base.FIELDS)
def test_what_a_field_declares_is_allowed(name):
  field = base.FIELDS[name]
  assert field.accepts(field.default)
  for value in (*field.choices, field.minimum, field.maximum):
    if value is not None:
      assert field.accepts((value,) if field.kind is tuple else value)


def assert_explains(line: str, name: str, value: Any) -> None:
  """The line names the field, its value and all that is allowed."""
  field = base.FIELDS[name]
  typed, quoted = (f"config.{name}={v}: must be " for v in (value, repr(value)))
  assert line.startswith((typed, quoted))
  allowed = line.split(": must be ")[1]
  expected = [repr(c) for c in field.choices] or ends(field)
  if field.each:
    expected += ["a tuple", NAME_OF_KIND[base.FIELDS[field.each].kind]]
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


# --- fields that contradict each other ----------------------------------------

TEACHER = {"dataset": "teacher_student", "loss": "squared_error"}
SIGNS = {"dataset": "signal_noise", "loss": "squared_error"}
GAME = {"dataset": "breakout", "model": "actor_critic", "loss": "ppo"}
SIM_BN = {
  "normalization": "sim_bn",
  "model": "two_layer",
  "num_neurons": (3,),
}
# One case a rule, in the order of the rules: the wrong field and its value, the
# other fields, and what the line says is allowed.
CONTRADICTIONS: list[tuple[str, Any, dict[str, Any], str]] = [
  ("rho", 0.0, {}, "must be > 0 with config.optimizer='sam'"),
  ("sparsity", 0.5, {}, "one of 'random', 'magnitude', 'snip'"),
  ("sam_end", 0.5, {"sam_begin": 0.5}, "must be > config.sam_begin=0.5"),
  (
    "microbatch_size",
    32,
    {"sync_perturbation": True},
    "excludes config.sync_perturbation=True",
  ),
  ("microbatch_size", 256, {}, "must be <= config.batch_size=128"),
  ("ascent_steps", 2, {"perturbation": "unnormalized"}, "must be 1"),
  (
    "stage_starts",
    (0.5, 0.25),
    {"stage_lr_factors": (2.0, 1.0), "stage_rho_factors": (2.0, 1.0)},
    "must ascend",
  ),
  ("stage_lr_factors", (2.0,), {}, "for each of config.stage_starts=()"),
  (
    "stage_rho_factors",
    (),
    {"stage_starts": (0.5,), "stage_lr_factors": (2.0,)},
    "for each of config.stage_starts=(0.5,)",
  ),
  ("num_train_steps", 0, {}, ">= 1, or -1"),
  ("steps_per_eval", 0, {}, ">= 1, or -1"),
  ("warmup_steps", 0, {"lr_scheduler": "inverse_sqrt"}, "must be >= 1"),
  (
    "loss",
    "cross_entropy",
    {"dataset": "teacher_student"},
    "must be 'squared_error' with config.dataset='teacher_student'",
  ),
  ("label_noise", 0.5, TEACHER, "must be 0"),
  ("label_smoothing", 0.1, TEACHER, "must be 0"),
  ("augment", True, TEACHER, "must be False"),
  ("model", "vgg11", TEACHER, "must be 'mlp' or 'two_layer' with"),
  ("num_neurons", (3, 2), {"model": "two_layer"}, "must have one entry"),
  ("label_smoothing", 0.1, SIGNS, "must be 0"),
  (
    "label_smoothing",
    0.5,
    {"dataset": "signal_noise", "loss": "logistic"},
    "must be < 0.5",
  ),
  ("first_layer_norm", 10.0, {}, "must be 0 with config.model='mlp'"),
  ("normalization", "sim_ln", {}, "must be 'none' with config.model='mlp'"),
  (
    "init_from",
    "run",
    SIM_BN,
    "must be '' with config.normalization='sim_bn'",
  ),
  (
    "normalization",
    "sim_bn",
    {**SIM_BN, "dataset": "imagenet2012"},
    "must be another with config.dataset='imagenet2012'",
  ),
  ("step_label_noise", 0.1, {}, "must be 0 with config.dataset='digits'"),
  (
    "step_label_noise",
    0.5,
    {"dataset": "xor", "loss": "logistic"},
    "must be < 0.5 with config.loss='logistic'",
  ),
  (
    "hidden_size",
    100,
    {"model": "vit"},
    "must be a multiple of config.head_size=32, or smaller",
  ),
  ("weight_decay_form", "sst2_example", {}, "must be 'coupled' with"),
  ("bucket_batches", 1, {}, "must be 0 with config.dataset='digits'"),
  ("lazy_alpha", 1.0, {}, "must be 0 with config.loss='cross_entropy'"),
  ("lazy_alpha", 1.0, TEACHER, "must be 0 with config.dataset="),
  (
    "lazy_alpha",
    1.0,
    {"loss": "squared_error", "model": "resnet18"},
    "must be 0 with config.model='resnet18'",
  ),
  (
    "init_from",
    "run",
    {"loss": "squared_error", "lazy_alpha": 1.0},
    "must be '' with config.lazy_alpha=1.0",
  ),
  ("validation_fraction", 0.1, {"dataset": "imagenet2012"}, "must be 0"),
  ("train_fraction", 0.5, {"dataset": "imagenet2012"}, "must be 1 with"),
  (
    "validation_fraction",
    0.1,
    {"dataset": "ogbg_molpcba", "model": "gcn", "loss": "binary_cross_entropy"},
    "must be 0 with config.dataset='ogbg_molpcba'",
  ),
  (
    "sharpness_num_examples",
    0,
    {"dataset": "imagenet2012", "sharpness_every_epochs": 1},
    "must be >= 1",
  ),
  ("validation_fraction", 0.1, GAME, "must be 0 with config.dataset='breakout"),
  (
    "pruner",
    "snip",
    {**GAME, "sparsity": 0.5},
    "must be 'random' or 'magnitude' with config.dataset='breakout'",
  ),
  ("sharpness_every_epochs", 1, GAME, "sharpness_report.py measures its runs"),
  (
    "sweep.rho",
    (0.1, 0.2),
    {"optimizer": "adam"},
    "must be () with config.opt",
  ),
  ("sweep_mode", "vmap", {"dataset": "imagenet2012"}, "'loop' or 'auto'"),
]
CONTRADICTION_IDS = [f"{name}={value}" for name, value, _, _ in CONTRADICTIONS]


def test_every_contradiction_has_its_case():
  num_rules = len(list(base.contradictions(base.get_config())))
  broken = []
  for name, value, others, _ in CONTRADICTIONS:
    config = base.get_config()
    config.update_from_flattened_dict({name: value, **others})
    rules = enumerate(base.contradictions(config))
    broken.append([i for i, (wrong, _) in rules if wrong])
  assert broken == [[i] for i in range(num_rules)]


@pytest.mark.parametrize(
  ("name", "value", "others", "allowed"), CONTRADICTIONS, ids=CONTRADICTION_IDS
)
def test_contradiction(refused, name, value, others, allowed):
  fields = {name: value, **others}
  line = refused(BASE, *(f"--config.{k}={v}" for k, v in fields.items()))
  assert line.startswith(f"config.{name}={value!r}: ")
  assert allowed in line


# --- the command line ---------------------------------------------------------

EXAMPLE = "configs/mlp_digits.py"
FLAG_CASES = {
  "nothing": ([], f"--config: missing; for instance --config={EXAMPLE}"),
  "unknown field": (
    [BASE, "--config.rhoo=1"],
    "config.rhoo: there is no such field; did you mean 'rho'?",
  ),
  "unknown field, nothing close": (
    [BASE, "--config.zzz=1"],
    "config.zzz: there is no such field; see configs/base.py",
  ),
  "field of a field": (
    [BASE, "--config.rho.x=1"],
    "config.rho.x: there is no such field; did you mean 'rho'?",
  ),
  "field without a name": (
    [BASE, "--config.=1"],
    "config.: there is no such field; see configs/base.py",
  ),
  "unknown field, switched off": (
    [BASE, "--noconfig.augmen"],
    "config.augmen: there is no such field; did you mean 'augment'?",
  ),
  "field before the config": (
    ["--config.rho=1", BASE],
    "--config.rho=1: needs --config=FILE before it",
  ),
  "field without a config": (
    ["--mode=eval", "--workdir=run", "--config.rho=1"],
    "--config.rho=1: needs --config=FILE before it",
  ),
  "field without a value": (
    [BASE, "--config.rho"],
    "config.rho='': must be a finite number >= 0",
  ),
  "field with an empty value": (
    [BASE, "--config.rho="],
    "config.rho='': must be a finite number >= 0",
  ),
  "value for a switched off field": (
    [BASE, "--noconfig.augment=1"],
    "--noconfig.augment=1 does not take an argument",
  ),
  "unknown flag": (
    [BASE, "--zzz=1"],
    "--zzz: there is no such flag; see --help",
  ),
  "misspelt flag": (
    [BASE, "--workdi=run"],
    "--workdi: there is no such flag; did you mean --workdir?",
  ),
  "field without config.": (
    [BASE, "--rho=0.1"],
    "--rho: there is no such flag; did you mean --config.rho?",
  ),
  "stray argument": (
    [BASE, "stray"],
    "'stray': not a flag; every argument is --NAME=VALUE",
  ),
  "value after a boolean": (
    [BASE, "--config.augment", "True"],
    "'True': not a flag; every argument is --NAME=VALUE",
  ),
  "config without a value": (
    ["--config"],
    f"--config='': must be a file, such as {EXAMPLE}",
  ),
  "config that is empty": (
    ["--config="],
    f"--config='': must be a file, such as {EXAMPLE}",
  ),
  "config that does not exist": (
    ["--config=nowhere.py"],
    f"--config='nowhere.py': must be a file, such as {EXAMPLE}",
  ),
  "config that is a folder": (
    [f"--config={CONFIGS}"],
    f"--config='{CONFIGS}': must be a file, such as {EXAMPLE}",
  ),
  "mode": (
    [BASE, "--mode=tain"],
    "--mode='tain': value should be one of <train|eval>",
  ),
  "mode without a value": ([BASE, "--mode"], "--mode='': needs a value"),
  "boolean flag": (
    [BASE, "--profile=maybe"],
    "--profile='maybe': must be true or false",
  ),
  "empty workdir": ([BASE, "--workdir="], "--workdir='': must be a folder"),
  "empty data_dir": ([BASE, "--data_dir="], "--data_dir='': must be a folder"),
  "checkpoint": (
    [BASE, "--mode=eval", "--checkpoint=newest"],
    "--checkpoint='newest': must be latest, best or a step",
  ),
  "checkpoint to train": (
    [BASE, "--checkpoint=best"],
    "--checkpoint=best: is read only with --mode=eval",
  ),
  "profile of an evaluation": (
    [BASE, "--mode=eval", "--profile"],
    "--profile=True: is read only with --mode=train",
  ),
  "eval of nothing": (
    ["--mode=eval"],
    "--mode=eval: needs --workdir, or --config as in training",
  ),
  "eval of no run": (
    ["--mode=eval", "--workdir=nowhere"],
    "nowhere: not a run folder (config.json: [Errno 2] No such file or"
    " directory: 'nowhere/config.json')",
  ),
  "flagfile": (
    [BASE, "--flagfile=nowhere"],
    "Unable to open flagfile: [Errno 2] No such file or directory: 'nowhere'",
  ),
}


@pytest.mark.parametrize(
  ("args", "expected"), FLAG_CASES.values(), ids=FLAG_CASES.keys()
)
def test_flags(refused, args, expected):
  assert refused(*args) == expected


FILE_CASES = {
  "syntax": (
    "  return config)",
    "--config: SyntaxError: unmatched ')' (mine.py, line 6)",
  ),
  "unknown field": (
    "  config.rhoo = 1\n  return config",
    "config.rhoo: there is no such field; did you mean 'rho'?",
  ),
  "out of range": (
    "  config.rho = -1\n  return config",
    "config.rho=-1: must be a finite number >= 0",
  ),
  "None": (
    "  config.rho = None\n  return config",
    "config.rho=None: must be a finite number >= 0",
  ),
  "bool for int": (
    "  config.batch_size = True\n  return config",
    "config.batch_size=True: must be an integer >= 1",
  ),
  "field removed": (
    "  del config.rho\n  return config",
    "config.rho: missing; start from base.get_config()",
  ),
  "no return": (
    "",
    "--config: get_config() must return what base.get_config() does",
  ),
  "a dict": (
    "  return dict(config)",
    "--config: get_config() must return what base.get_config() does",
  ),
  "an error": (
    "  return config[1 // 0]",
    "--config: {path}, line 6: ZeroDivisionError: integer division or modulo by"
    " zero",
  ),
  "an error of two lines": (
    '  raise ValueError("two\\nlines")',
    "--config: {path}, line 6: ValueError: two lines",
  ),
  "a missing file": (
    '  return open("nowhere")',
    "--config: {path}, line 6: FileNotFoundError: [Errno 2] No such file or"
    " directory: 'nowhere'",
  ),
}


@pytest.mark.parametrize(
  ("lines", "expected"), FILE_CASES.values(), ids=FILE_CASES.keys()
)
def test_config_file(refused, config_file, lines, expected):
  path = config_file(lines)
  assert refused(f"--config={path}") == expected.format(path=path)


def test_config_file_without_get_config(refused, tmp_path):
  (tmp_path / "empty.py").touch()
  assert refused("--config=empty.py") == (
    "--config: AttributeError: the file has no attribute 'get_config'"
  )


# --- what only the data, the devices or the folders can tell ------------------


@pytest.mark.parametrize(
  ("flag", "devices", "expected"),
  [
    (
      "--config.model=vit --config.patch_size=3",
      1,
      "config.patch_size=3: must divide the sides of the 8x8 images of digits",
    ),
    (
      "--config.batch_size=1438",
      1,
      "config.batch_size=1438: must be <= the 1437 training examples of digits",
    ),
    (
      "--config.batch_size=127",
      2,
      "config.batch_size=127: must be a multiple of the 2 devices",
    ),
    (
      "--config.microbatch_size=48",
      2,
      "config.microbatch_size=48: must divide the 64 examples of a device"
      " (config.batch_size=128 over 2)",
    ),
    (
      "--config.validation_fraction=1e-4",
      1,
      "config.validation_fraction=0.0001: must be 0, or hold out at least one"
      " of the 1437 training examples of digits",
    ),
    (
      "--config.num_epochs=1000000000",
      1,
      "config.num_epochs=1000000000: must be <= 195225786, since steps are"
      " counted in int32",
    ),
  ],
  ids=[
    "patch",
    "batch",
    "batch and devices",
    "microbatch",
    "validation",
    "epochs",
  ],
)
def test_does_not_fit(refused, flag, devices, expected):
  assert refused(BASE, *flag.split(), jax=True, devices=devices) == expected


@pytest.mark.parametrize("workdir", ["file", "file/run"])
def test_unusable_workdir(refused, tmp_path, workdir):
  (tmp_path / "file").touch()
  line = refused(BASE, f"--workdir={workdir}", jax=True)
  assert line.startswith(f"workdir {workdir}: cannot be used (")


def test_unreadable_data(refused, tmp_path):
  (tmp_path / "file").touch()
  line = refused(BASE, "--config.dataset=mnist", "--data_dir=file", jax=True)
  assert str(tmp_path / "file") in line


def test_init_from(refused, tmp_path):
  (tmp_path / "other").mkdir()
  line = refused(BASE, "--config.init_from=other", jax=True)
  assert line == (
    "config.init_from=other: must be a run folder with a checkpoint"
  )


def test_init_from_other_model(refused, finished_run):
  workdir, _ = finished_run
  before = snapshot(workdir)
  line = refused(
    BASE,
    "--config.num_neurons=(3,)",
    f"--config.init_from={workdir}",
    jax=True,
  )
  assert line == (
    f"config.init_from={workdir}: the weights of step 1 do not fit this model"
    " (params/Dense_0/bias is (2,), not (3,))"
  )
  assert snapshot(workdir) == before


def test_missing_checkpoint(refused, finished_run):
  workdir, _ = finished_run
  before = snapshot(workdir)
  line = refused(
    "--mode=eval", f"--workdir={workdir}", "--checkpoint=99", jax=True
  )
  assert line == f"{workdir}/checkpoints: no checkpoint '99'; there are [1]"
  assert snapshot(workdir) == before


def test_eval_with_the_config_of_another_run(refused, finished_run):
  workdir, _ = finished_run
  line = refused("--mode=eval", BASE, f"--workdir={workdir}")
  assert line == (
    f"workdir {workdir}: holds a run with num_neurons=[2], not [300, 100];"
    " give another --workdir"
  )


# --- nothing is silently ignored ----------------------------------------------


def read_names() -> set[str]:
  """Returns the names that the program reads from a config."""
  names = set()
  for path in ROOT.rglob("*.py"):
    folders = path.relative_to(ROOT).parts[:-1]
    # records.py only names and compares runs.
    if (
      any(f in NOT_PROGRAM or f.startswith(".") for f in folders)
      or path == ROOT / "records.py"
    ):
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


@pytest.mark.parametrize("name", base.FIELDS)
def test_every_field_is_read(names_in_program, name):
  # What is swept is read by its name in a table; see test_sweep.py.
  read = "sweep" if base.FIELDS[name].each else name
  assert read in names_in_program


def test_a_field_that_is_not_read_is_reported(finished_run):
  _, done = finished_run
  lines = [x for x in done.err.splitlines() if x.startswith("warning")]
  assert lines == ["warning: config.adam_b1: not read by this run"]


@pytest.mark.parametrize("name", base.FIELDS)
def test_what_a_field_depends_on_exists(name):
  bases = ("sgd", "adam", "adamw")
  for other, values in base.FIELDS[name].read_if.items():
    if other == "sweep":
      continue
    choices = bases if other == "base" else base.FIELDS[other].choices
    if isinstance(values, tuple) and choices:
      assert set(values) <= set(choices)


# --- the configs and the help -------------------------------------------------


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.stem)
def test_config_sets_only_what_is_read(path):
  config = importlib.import_module(f"configs.{path.stem}").get_config()
  base.check(config)
  for name, field in base.FIELDS.items():
    if config[name] != field.default:
      assert base.is_read(name, config), name


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.stem)
def test_help_shows_the_fields(start, tmp_path, path):
  done = start(f"--config={path}", "--config.seed=7", "--help", cwd=tmp_path)
  assert (done.code, done.err) == (0, "")
  config = importlib.import_module(f"configs.{path.stem}").get_config()
  for name in base.FIELDS:
    value = 7 if name == "seed" else config[name]
    assert f"\n  --config.{name}={value!r}\n" in done.out


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_flags(start, tmp_path, flag):
  done = start(flag, cwd=tmp_path)
  assert (done.code, done.err) == (0, "")
  for name in ("checkpoint", "config", "data_dir", "mode", "workdir"):
    assert f"\n  --{name}: " in done.out
  assert "verbosity" not in done.out
  assert len(done.out.splitlines()) < 40
  assert max(map(len, done.out.splitlines())) <= 80
