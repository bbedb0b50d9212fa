"""Trains (or evaluates) one run: `python main.py --config=configs/X.py`.

Exit codes: 0 finished, 2 wrong input, 3 diverged, 130 or 143 stopped by Ctrl-C
or SIGTERM after saving (the same command resumes).
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import sys
from typing import Any, NoReturn

from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from configs import base

FLAGS = flags.FLAGS

config_flags.DEFINE_config_file(
  "config",
  None,
  "Config file; override a field with --config.FIELD=VALUE. Every field, with"
  " its unit and allowed values, is declared in configs/base.py.",
  lock_config=True,
)
flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the run: checkpoints, metrics.jsonl, result.json, TensorBoard"
  " events. Default: runs/<name>, with a name that states what was overridden."
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
  "profile", False, "Write a profile of some steps for TensorBoard."
)

DIVERGED = 3


def fail(message: str) -> NoReturn:
  """Ends the program for wrong input: one line, exit code 2."""
  print("error: " + " ".join(message.split()), file=sys.stderr)
  sys.exit(2)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses and checks the flags; a wrong one ends the program.

  absl's own parser prints tracebacks, returns 1 and lets `rho=nan` pass.
  """
  for arg in argv[1:]:
    match = re.match(r"--?(?:no)?config\.([^=]+)", arg)
    if match and match[1] not in base.FIELDS:
      fail(base.unknown_field(match[1]))
  try:
    rest = FLAGS(argv)
    if FLAGS.config is not None:
      base.check(FLAGS.config)
  except base.ConfigError as e:
    fail(str(e))
  except flags.Error as e:
    match = re.match(r"flag --config\.(\w+)=(.*?): ", str(e))
    fail(base.wrong_value(match[1], match[2]) if match else str(e))
  except OSError as e:
    fail(f"--config: {str(e).splitlines()[-1].strip()}")
  except Exception as e:  # Whatever the config file raises.
    fail(f"--config: {type(e).__name__}: {e}")
  if len(rest) > 1:
    fail(f"{rest[1]!r}: not a flag")
  if FLAGS.config is None and not (FLAGS.mode == "eval" and FLAGS.workdir):
    fail("--config: missing; for instance --config=configs/mlp_digits.py")
  return rest


def overrides() -> dict[str, Any]:
  """Returns the config fields that were set by flag."""
  return config_flags.get_override_values(FLAGS["config"])


def set_up_jax(dtype: str) -> None:
  """Sets what must be set before JAX starts."""
  if FLAGS.deterministic:
    os.environ["XLA_FLAGS"] = (
      os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    )
  import jax

  jax.config.update("jax_enable_x64", dtype == "float64")
  # So that a shell loop compiles once.
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    jax.config.update(
      "jax_compilation_cache_dir", str(pathlib.Path(cache, "sam-overparam"))
    )
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def train(workdir: str | None) -> int:
  """Trains, or resumes; returns the exit code."""
  import progress
  import records
  import tensorboard_writer
  import train as training

  config = FLAGS.config
  for name in overrides():
    if not base.is_read(name, config):
      logging.warning("config.%s is not read by this run", name)
  name = records.run_name(config, overrides())
  workdir = workdir or os.path.join("runs", name)

  stopped_by: list[int] = []
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda received, _: stopped_by.append(received))

  print(f"run folder: {workdir}", flush=True)
  writer = tensorboard_writer.create(workdir)
  try:
    result = training.train_and_evaluate(
      config,
      workdir,
      writer,
      data_dir=FLAGS.data_dir,
      make_hooks=lambda num_steps: tensorboard_writer.hooks(
        writer, workdir, num_steps, profile=FLAGS.profile
      ),
      should_stop=lambda: bool(stopped_by),
    )
  except training.Stopped as e:
    print(f"{e}; the same command resumes", flush=True)
    return 128 + stopped_by[0]
  finally:
    if writer is not None:
      writer.close()
  if result["status"] == "diverged":
    where = "{metric} is not finite at step {step}".format(**result["diverged"])
    print(f"diverged: {where}", file=sys.stderr)
    return DIVERGED
  print(progress.outcome(result), flush=True)
  return 0


def evaluate(workdir: str) -> int:
  """Evaluates a checkpoint and prints the metrics as one JSON line."""
  import train as training

  record = training.evaluate(workdir, FLAGS.checkpoint, FLAGS.data_dir)
  print(json.dumps(record))
  return 0


def main(argv: list[str]) -> None:
  del argv  # Checked by `parse_flags`.
  if not FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # Orbax logs every step it takes.
  import records

  workdir = FLAGS.workdir
  try:
    if FLAGS.mode == "train":
      set_up_jax(FLAGS.config.dtype)
      exit_code = train(workdir)
    else:
      if workdir is None:
        name = records.run_name(FLAGS.config, overrides())
        workdir = os.path.join("runs", name)
      set_up_jax(records.load_config(workdir).dtype)
      exit_code = evaluate(workdir)
  except base.UserError as e:
    fail(str(e))
  sys.exit(exit_code)


if __name__ == "__main__":
  with contextlib.suppress(BrokenPipeError):
    app.run(main, flags_parser=parse_flags)
