"""Wrong flags and config values against every program.

Each is refused with exit code 2 and one short line, or accepted; no traceback.
What is accepted of a config is only shown (`--help`), but for a few runs of a
step.
"""

from collections.abc import Iterator
import importlib
import pathlib
import random
import warnings

from configs import fields
from tests.campaign import trials as lib
from tests.campaign.trials import Trial

# Of a line, with the path of a file in it.
MAX_LINE = 800
NUM_VALUES = 12  # Of each field.
NUM_MUTATED = 400
NUM_FILES = 300
NUM_STEPS = 10
# What the programs need not import again; those that define flags are left out.
WARM = (
  *("absl.app", "ml_collections.config_flags", "run_folder.naming"),
  *("report", "sharpness_report", "studies.kit.work"),
)
BASE = "--config=configs/base.py"
VALUES = (
  *("", " ", "0", "-0", "-1", "1", "1.5", "1e30", "1e308", "1e309", "1e-400"),
  *("nan", "inf", "-inf", "None", "True", "maybe", "0x10", "1_000", "1e", "--"),
  *("()", "(1,)", "(1,2", "(1.5,)", "('a',)", "[1]", "{'a': 1}", "(1,)*9"),
  *(str(10**30), str(-(10**30)), str(10**400), "9" * 5000, "x" * 10**5),
  *("a\nb", "\x1b[31m", "\u0661", "\u00e9", "%s", "{0}", "../..", "~", "/"),
)
# Of a config file, which is Python.
CODE = (
  *("None", "True", "-1", "0", "2**31", "10**30", "10**400", "-10**400"),
  *("1e308", "-1e308", "1e-320", "float('inf')", "float('nan')", "1j"),
  *("'x' * 10**5", "b'x'", "''", "'a\\nb'", "()", "(1,)", "[1, 'a']"),
  *("{}", "{'rho': 1}", "object()", "print", "config", "set()", "range(3)"),
  *("(10**400,)", "(float('nan'),)", "((1,),)", "__import__('numpy').ones(3)"),
  *("__import__('numpy').float32(1)", "lambda: 0", "1 / 0", "undefined"),
)
MAIN = ("config", "workdir", "mode", "checkpoint", "data_dir", "profile")
OTHERS = {
  "study.py": ("study", "preset", "workload", "shape", "workdir", "data_dir"),
  "report.py": ("out", "metric", "choose_by"),
  "sharpness_report.py": (
    *("workdir", "checkpoint", "measures", "runs", "split", "num_examples"),
    *("rho", "batch_statistics", "data_dir"),
  ),
}


def trials(folder: pathlib.Path, chance: random.Random) -> Iterator[Trial]:
  """Yields a trial for each command line."""
  # JAX warns of copies of a process, which do not use what was only imported.
  warnings.simplefilter("ignore")
  for module in WARM:
    importlib.import_module(module)
  for name in fields.FIELDS:
    for value in chance.sample(VALUES, NUM_VALUES):
      yield _tried("values of fields", BASE, f"--config.{name}={value}")
  for name in MAIN:
    for value in VALUES:
      yield _tried("values of other flags", BASE, f"--{name}={value}")
  for _ in range(NUM_MUTATED):
    yield _tried("misspelt flags", *_misspelt(chance))
  for i in range(NUM_FILES):
    path = folder / f"config{i}.py"
    path.write_text(_config_file(chance))
    kind = f"config files: {path.read_text()!r}"
    yield _tried("config files", f"--config={path}", what=kind)
  for script, names in OTHERS.items():
    for name in names:
      for value in VALUES:
        flag = f"--{name}={value}"
        yield _tried(f"flags of `{script}`", flag, script=script)
  for i in range(NUM_STEPS):
    yield _step(folder / f"run{i}", chance)


def _tried(
  kind: str, *flags: str, script: str = "main.py", what: str = ""
) -> Trial:
  """Tries a program, without training."""
  ending = {"main.py": ("--help",), "study.py": ("--estimate",)}
  rest = ending.get(script, ())
  if script == "report.py":
    rest = ("nowhere",)
  elif script == "sharpness_report.py" and "--workdir" not in flags[0]:
    rest = ("--workdir=nowhere",)
  outcome = lib.fork(script, *flags, *rest)
  fault = lib.fault(outcome)
  longest = max(map(len, outcome.err.splitlines()), default=0)
  if not fault and longest > MAX_LINE:
    fault = f"a line of {longest} characters"
  return Trial(kind, what or f"{script} {' '.join(flags)!r:.300}", fault)


def _misspelt(chance: random.Random) -> list[str]:
  """Returns flags with some characters that were changed."""
  flags = [
    BASE,
    *(
      f"--config.{name}={chance.choice(VALUES[:20])}"
      for name in chance.sample(list(fields.FIELDS), 2)
    ),
    "--workdir=run",
  ]
  for _ in range(chance.randrange(1, 4)):
    i = chance.randrange(len(flags))
    if not flags[i]:
      continue
    at = chance.randrange(len(flags[i]))
    new = chance.choice(("", *"-=.:, ()'\"a0\u00e9\n"))
    flags[i] = flags[i][:at] + new + flags[i][at + chance.randrange(2) :]
  if chance.random() < 0.3:
    chance.shuffle(flags)
  return flags


def _config_file(chance: random.Random) -> str:
  names = [*fields.FIELDS, "no_such_field", "sweep", "update", "lock"]
  lines = [
    f"  config.{chance.choice(names)} = {chance.choice(CODE)}"
    for _ in range(chance.randrange(1, 4))
  ]
  lines.append(chance.choice((*["  return config"] * 5, "", "  return 5", "(")))
  head = "from configs import base\n\n\ndef get_config():\n"
  return f"{head}  config = base.get_config()\n" + "\n".join(lines) + "\n"


def _step(folder: pathlib.Path, chance: random.Random) -> Trial:
  """Takes a step with the ends of some ranges; it may diverge."""
  one = ("--config.num_neurons=(4,)", "--config.num_train_steps=1")
  numbers = {
    name: [f.minimum, f.maximum, 1e38 if f.maximum is None else None]
    for name, f in fields.FIELDS.items()
    if f.kind is float and not f.below
  }
  flags = [
    f"--config.{name}={value}"
    for name in chance.sample(sorted(numbers), 6)
    for value in [chance.choice(numbers[name])]
    if value is not None
  ]
  workdir = f"--workdir={folder}"
  outcome = lib.fork("main.py", BASE, *one, *flags, workdir)
  fault = lib.fault(outcome, codes=(0, 3))
  return Trial("a step at the ends of ranges", " ".join(flags), fault)
