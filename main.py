"""Trains (or evaluates) a run, or a sweep: `main.py --config=configs/X.py`.

Exit codes: 0 finished, 2 wrong input or data, 3 diverged (of a sweep: all
runs). SIGINT (Ctrl-C), SIGTERM and SIGHUP end it after it saved what is new
(the same command resumes): a shell says 130, 143 or 129. SIGUSR1 saves, too.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

from collections.abc import Callable
import functools
import json
import os
import pathlib
import re
import sys
from typing import Any, NoReturn

from absl import app
from absl import flags
from absl import logging
import ml_collections
from ml_collections import config_flags

from configs import base
from configs import errors
from configs import fields
from configs import kinds
from configs import reading
from configs import sweep
from program import cli
from program import flag_errors
from program import jax_setup
from program.cli import fail
from run_folder import naming

FLAGS = flags.FLAGS


try:
  config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; override a field with --config.FIELD=VALUE. With --help,"
    " every field is shown with its value, meaning and what it accepts.",
    lock_config=True,
  )
except flags.Error as error:  # This already reads the --flagfile.
  fail(str(error).removeprefix("ERROR:: "))
flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the run: checkpoints, metrics.jsonl, result.json, TensorBoard"
  " events. Default: runs/<name>, with a name that states what was overridden,"
  " or set by a config file outside of configs/."
  " A folder that holds the same run is resumed.",
)
flags.DEFINE_enum(
  "mode",
  "train",
  ["train", "eval"],
  "'eval' evaluates a checkpoint of the run in --workdir.",
)
flags.DEFINE_string(
  "checkpoint", "latest", "What --mode=eval reads: latest, best or a step."
)
flags.DEFINE_string(
  "data_dir",
  None,
  "Where TFDS keeps its data. Default: TFDS_DATA_DIR, then"
  " ~/tensorflow_datasets.",
)
flags.DEFINE_bool(
  "deterministic",
  False,
  "Make XLA's GPU programs give the same bits in every run (slower).",
)
flags.DEFINE_bool(
  "stop_on_usr1",
  False,
  "SIGUSR1, which SLURM's --signal=USR1@120 sends before the time is over, also"
  " ends the run after it saved; else the run goes on.",
)
flags.DEFINE_string(
  "hosts",
  None,
  "Train one run by several processes: ADDRESS:PORT,COUNT,INDEX in each of the"
  " COUNT, of which the first (INDEX 0) is at ADDRESS; or 'auto', on SLURM,"
  " Open MPI and TPU pods.",
)
flags.DEFINE_bool(
  "profile", False, "Write a profile of some steps for TensorBoard."
)

DIVERGED = 3
ROOT = pathlib.Path(__file__).parent
EXAMPLE = "configs/mlp_digits.py"


def parse_flags(argv: list[str]) -> list[str]:
  """Parses and checks the flags; a wrong one ends the program.

  absl's own parser prints tracebacks, returns 1 and lets `rho=nan` pass.
  """
  # get_config() without a return is reported below.
  logging.set_verbosity(logging.ERROR)
  try:
    argv = FLAGS.read_flags_from_files(argv, force_gnu=False)
    argv = [
      re.sub(r"(?<=^--config=)~.*|(?<=^-config=)~.*", _home, arg)
      for arg in argv
    ]
    path = flag_errors.check_fields(
      argv, fields.FIELDS, fields.unknown_field, example=_example()
    )
    if path is not None:  # It may import its neighbours.
      sys.path.append(os.path.dirname(os.path.abspath(path)))
    rest = FLAGS([arg for arg in argv if arg not in flag_errors.HELP])
    if FLAGS["config"].present:
      if not hasattr(FLAGS.config, "lock"):  # Raises what get_config() did.
        fail("--config: get_config() must return what base.get_config() does")
      base.check(FLAGS.config)
  except errors.ConfigError as e:
    fail(str(e))
  except Exception as e:  # Whatever absl or the config file raises.
    fail(
      flag_errors.explain(e, fields.FIELDS, fields.wrong_value, fields.ALIASES)
    )
  if flag_errors.HELP & set(argv):
    _print_help()
  _check_flags(rest)
  return rest


def _home(path: re.Match[str]) -> str:
  return cli.path(path.group())


def _example() -> str:
  """Returns the path of a config file, from the working folder."""
  return EXAMPLE if os.path.isfile(EXAMPLE) else str(ROOT / EXAMPLE)


def _check_flags(rest: list[str]) -> None:
  """Checks the flags that are not of the config.

  Args:
    rest: the arguments that are not flags, after the program's name.
  """
  if len(rest) > 1:
    fail(f"{rest[1]!r}: not a flag; every argument is --NAME=VALUE")
  for name in ("workdir", "data_dir"):
    cli.check_folder(name, FLAGS[name].value)
  if not re.fullmatch(r"latest|best|\d+", FLAGS.checkpoint):
    fail(f"--checkpoint={FLAGS.checkpoint!r}: must be latest, best or a step")
  for name, mode in (
    ("checkpoint", "eval"),
    ("profile", "train"),
    ("hosts", "train"),
  ):
    flag = FLAGS[name]
    if flag.value != flag.default and FLAGS.mode != mode:
      fail(f"--{name}={flag.value}: is read only with --mode={mode}")
  if FLAGS.hosts is not None:
    cli.host(FLAGS.hosts)
    _check_one_run()
  if FLAGS.config is None:
    if FLAGS.mode == "train":
      fail(f"--config: missing; for instance --config={_example()}")
    if not FLAGS.workdir:
      fail("--mode=eval: needs --workdir, or --config as in training")


def _check_one_run() -> None:
  """Ends the program for what several processes do not train together."""
  config = FLAGS.config
  if config is None:
    return
  if sweep.swept(config):
    fail("--hosts: is for one run, and config.sweep makes several")
  if config.dataset in kinds.GAMES:
    fail(f"--hosts: must not be given with config.dataset={config.dataset!r}")
  if config.devices_per_run:
    fail(
      f"config.devices_per_run={config.devices_per_run}: must be 0 with"
      " --hosts, which takes all devices"
    )


def _print_help() -> NoReturn:
  """Prints the flags and, of the config if there is one, the fields."""
  print(f"{__doc__}\n{FLAGS.main_module_help()}")
  if FLAGS.config is not None:
    print(f"\nfields of the config:\n{fields.describe(FLAGS.config)}")
  sys.exit(0)


def overrides() -> dict[str, Any]:
  """Returns the config fields that were set by flag."""
  return config_flags.get_override_values(FLAGS["config"])


def run_name() -> str:
  """Returns the default name of the run's folder.

  It states what was set by flag, and by a config file that is not in configs/,
  which people edit between two runs.
  """
  stated = set(overrides())
  file = config_flags.get_config_filename(FLAGS["config"])
  path = pathlib.Path(file.split(":")[0])
  if path.resolve().parent != (ROOT / "configs").resolve():
    default = base.get_config()
    stated |= {
      name for name in fields.FIELDS if FLAGS.config[name] != default[name]
    }
  return naming.run_name(FLAGS.config, stated)


def set_up_jax(config: ml_collections.ConfigDict) -> None:
  jax_setup.set_up(
    float64=config.dtype == "float64",
    deterministic=FLAGS.deterministic,
    spread_runs=bool(sweep.swept(config)) and config.devices_per_run <= 1,
  )


def train(workdir: str | None) -> int:
  """Trains, or resumes, perhaps with others; returns the exit code."""
  if FLAGS.hosts is None:
    set_up_jax(FLAGS.config)
    return _train(workdir)
  from training import several

  with several.connected(cli.host(FLAGS.hosts)) as hosts:
    # What is lost by its end is not its alone.
    signals.STOP.hold()
    signals.own_stdout(is_shown=hosts.is_first)
    set_up_jax(FLAGS.config)
    return _train(workdir, hosts)


def _train(workdir: str | None, hosts: Any = None) -> int:
  from run_folder import tensorboard
  import train as training
  from training import hosts as hosts_lib

  hosts = hosts or hosts_lib.ALONE
  config = FLAGS.config
  stop = signals.STOP
  stop.usr1_ends = FLAGS.stop_on_usr1
  workdir = workdir or os.path.join("runs", run_name())

  @functools.cache
  def announce() -> None:
    """Says, once nothing wrong was found, where the run is."""
    print(f"run folder: {workdir}", flush=True)
    for name in overrides():
      if not reading.is_read(name, config):
        print(f"warning: config.{name}: not read by this run", file=sys.stderr)

  def make_hooks(num_steps: int) -> list[Callable[[int], Any]]:
    if writer is None:
      return []
    announce()
    hooks = tensorboard.hooks(writer, workdir, num_steps, profile=FLAGS.profile)
    # From the first step on, there is something to save.
    return [lambda step: stop.hold(), *hooks]

  saves = False

  def should_stop() -> bool:
    """Notes what signals ask of any of the processes."""
    nonlocal saves
    number, save = hosts.agree(stop.number, int(stop.take_save()))
    if number:
      stop.number = number
    saves = bool(save)
    return bool(number)

  writer = tensorboard.EventsWriter(workdir) if hosts.is_first else None
  try:
    result = training.train_and_evaluate(
      config,
      workdir,
      writer,
      data_dir=FLAGS.data_dir,
      make_hooks=make_hooks,
      should_stop=should_stop,
      should_save=lambda: saves,
      hosts=hosts,
    )
  except training.Stopped as e:
    print(f"{e}; the same command resumes", flush=True)
    return stop.exit_code
  finally:
    if writer is not None:
      writer.close()
    stop.release()
  if hosts.is_first:
    announce()
    _report(result)
  return DIVERGED if result["status"] == "diverged" else 0


def _report(result: dict[str, Any]) -> None:
  """Says how a run, or a sweep, ended."""
  from run_folder import progress

  for run in result.get("runs", [result]):
    if run["status"] == "diverged":
      name = f"run {run['run']}, " if "run" in run else ""
      where = "{metric} is not finite at step {step}".format(**run["diverged"])
      print(f"diverged: {name}{where}", file=sys.stderr)
  if result["status"] != "diverged":
    print(progress.outcome(result), flush=True)


def evaluate(workdir: str | None) -> int:
  """Evaluates a checkpoint and prints the metrics of each run as JSON."""
  from run_folder import files

  workdir = workdir or os.path.join("runs", run_name())
  config = files.load_config(workdir)
  if FLAGS.config is not None:
    files.check_same(
      workdir, files.identity(config), files.identity(FLAGS.config)
    )
    for name in overrides():
      if FLAGS.config[name] != config[name]:
        print(f"warning: config.{name}: not read by eval", file=sys.stderr)
  set_up_jax(config)
  import train as training

  for record in training.evaluate(workdir, FLAGS.checkpoint, FLAGS.data_dir):
    # A diverged run of a sweep is in its checkpoint, too.
    print(json.dumps(files.finite(record)))
  return 0


def main(argv: list[str]) -> None:
  del argv  # Checked by `parse_flags`.
  if not FLAGS["verbosity"].present:
    logging.set_verbosity(logging.ERROR)  # Orbax logs every step it takes.
  try:
    run = train if FLAGS.mode == "train" else evaluate
    exit_code = run(FLAGS.workdir and cli.path(FLAGS.workdir))
  except errors.UserError as e:
    fail(str(e))
  except OSError as e:
    fail(f"cannot go on ({e})")
  sys.exit(exit_code)


if __name__ == "__main__":
  signals.run(lambda: app.run(main, flags_parser=parse_flags))
