"""What is wrong on a command line of absl's flags, one of which is `--config`.

The flags of its fields are `--config.NAME`, as ml_collections defines them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
import difflib
import os
import re
import sys
import traceback

from absl import flags

from program.cli import fail

FLAGS = flags.FLAGS
# Python's absl has further ones, which end with code 1.
HELP = frozenset(
  f"{dashes}{name}"
  for dashes in ("-", "--")
  for name in ("h", "help", "helpshort", "helpfull")
)
# As which ml_collections imports the file of `--config`.
CONFIG_MODULE = "config_config"


def check_fields(
  argv: list[str],
  names: Collection[str],
  unknown_field: Callable[[str], str],
  *,
  example: str,
) -> str | None:
  """Checks that the config is a file, and the names and order of its fields.

  Returns:
    The path of the config, if there is one.

  Args:
    argv: the command line, with what its --flagfile holds.
    names: of the fields.
    unknown_field: returns the error line for another name.
    example: a config file, to name where there is none.
  """
  path = None
  for arg, following in zip(argv[1:], [*argv[2:], ""], strict=False):
    if match := re.fullmatch(r"--?config(?:=(.*))?", arg, re.DOTALL):
      path = following if match[1] is None else match[1]
      _check_file(path, example)
    elif match := re.match(r"--?(?:no)?config\.([^=]*)", arg):
      if match[1] not in names:
        fail(unknown_field(match[1]))
      if path is None:
        fail(f"{arg}: needs --config=FILE before it")
  return path and path.split(":")[0]


def _check_file(path: str, example: str) -> None:
  wanted = f"must be a file, such as {example}"
  file = path.split(":")[0]  # What follows is for get_config().
  if not file or os.path.isdir(file):
    fail(f"--config={path!r}: {wanted}")
  if not os.path.isfile(file):
    folder = os.path.dirname(os.path.abspath(file))
    fail(f"--config={path!r}: {wanted}; there is none in {folder}")


def explain(
  error: Exception,
  names: Collection[str],
  wrong_value: Callable[[str, str], str],
  aliases: Mapping[str, Sequence[str]],
) -> str:
  """Returns the line for what absl, or a config file, raised.

  Args:
    error: what was raised.
    names: of the fields of the config.
    wrong_value: returns the error line for a field and a text that it does not
      accept.
    aliases: what else fields are called.
  """
  if isinstance(error, flags.UnrecognizedFlagError):
    return _unknown_flag(error.flagname, names, aliases)
  text = str(error)
  if " does not take an argument" in text:
    return text
  if match := re.match(r"Missing value for flag --(.*)", text):
    name, value, reason = match[1], "", "needs a value"
  elif match := re.match(r"flag --([\w.]+)=(.*?): (.*)", text, re.DOTALL):
    name, value, reason = match.groups()
  else:
    name = "config"
  if name == "config":
    return f"--config: {blame(error, CONFIG_MODULE)}"
  if name.startswith("config."):
    return wrong_value(name.removeprefix("config."), value)
  if FLAGS[name].boolean:
    reason = "must be true or false"
  return f"--{name}={value!r}: {reason}"


def _unknown_flag(
  name: str, fields: Collection[str], aliases: Mapping[str, Sequence[str]]
) -> str:
  flag_of = {alias: f"config.{names[0]}" for alias, names in aliases.items()}
  flag_of |= {field: f"config.{field}" for field in fields}
  flag_of |= {f.name: f.name for f in FLAGS.get_flags_for_module(sys.argv[0])}
  close = difflib.get_close_matches(name, flag_of, n=1)
  hint = f"did you mean --{flag_of[close[0]]}?" if close else "see --help"
  return f"--{name}: there is no such flag; {hint}"


def blame(error: BaseException, module: str) -> str:
  """Returns what went wrong in a file, and in which line.

  Args:
    error: what it raised.
    module: as which it was imported.
  """
  while wrapped := error.__cause__ or error.__context__:
    error = wrapped
  places = [
    f"{frame.f_code.co_filename}, line {line}: "
    for frame, line in traceback.walk_tb(error.__traceback__)
    if frame.f_globals.get("__name__") == module
  ]
  text = str(error).replace(f"module {module!r}", "the file")
  return f"{''.join(places[-1:])}{type(error).__name__}: {text}"
