"""Wrong input ends main.py with one line, before anything is compiled.

All of it is tested on the program itself, started from an empty folder.
"""

import pathlib

import pytest

from tests import entrance

BASE = entrance.BASE
CONFIGS = entrance.CONFIGS


@pytest.fixture(scope="module")
def finished_run(
  start, tmp_path_factory
) -> tuple[pathlib.Path, entrance.Outcome]:
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


# --- the command line ---------------------------------------------------------

EXAMPLE = CONFIGS / "mlp_digits.py"
FLAG_CASES = {
  "nothing": ([], f"--config: missing; for instance --config={EXAMPLE}"),
  "unknown field": (
    [BASE, "--config.rhoo=1"],
    "config.rhoo: there is no such field; did you mean 'rho'?",
  ),
  "unknown field, nothing close": (
    [BASE, "--config.zzz=1"],
    "config.zzz: there is no such field; see configs/fields/",
  ),
  "field of a field": (
    [BASE, "--config.rho.x=1"],
    "config.rho.x: there is no such field; did you mean 'rho'?",
  ),
  "field without a name": (
    [BASE, "--config.=1"],
    "config.: there is no such field; see configs/fields/",
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
    "config.rho='': must be a finite number >= 0 and <= 1e+38",
  ),
  "field with an empty value": (
    [BASE, "--config.rho="],
    "config.rho='': must be a finite number >= 0 and <= 1e+38",
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
  "alias of a field without config.": (
    [BASE, "--lr=0.1"],
    "--lr: there is no such flag; did you mean --config.learning_rate?",
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
    f"--config='nowhere.py': must be a file, such as {EXAMPLE}; there is none"
    " in {cwd}",
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
  "hosts": (
    [BASE, "--hosts=first:1234,2"],
    "--hosts='first:1234,2': must be 'auto' or ADDRESS:PORT,COUNT,INDEX",
  ),
  "port of hosts": (
    [BASE, "--hosts=first:70000,2,0"],
    "--hosts='first:70000,2,0': must be 'auto' or ADDRESS:PORT,COUNT,INDEX,"
    " with a PORT of 1 to 65535",
  ),
  "index of hosts": (
    [BASE, "--hosts=first:1234,2,2"],
    "--hosts='first:1234,2,2': must be 'auto' or ADDRESS:PORT,COUNT,INDEX, with"
    " an INDEX of 0 to COUNT - 1",
  ),
  "hosts of a sweep": (
    [BASE, "--config.sweep.seed=(0,1)", "--hosts=auto"],
    "--hosts: is for one run, and config.sweep makes several",
  ),
  "hosts of a game": (
    [f"--config={CONFIGS / 'ppo_breakout.py'}", "--hosts=auto"],
    "--hosts: must not be given with config.dataset='breakout'",
  ),
  "devices of hosts": (
    [BASE, "--config.devices_per_run=1", "--hosts=auto"],
    "config.devices_per_run=1: must be 0 with --hosts, which takes all devices",
  ),
  "hosts of an evaluation": (
    [BASE, "--mode=eval", "--hosts=auto"],
    "--hosts=auto: is read only with --mode=train",
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
def test_flags(refused, args, expected, tmp_path):
  assert refused(*args) == expected.format(cwd=tmp_path)


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
    "config.rho=-1: must be a finite number >= 0 and <= 1e+38",
  ),
  "None": (
    "  config.rho = None\n  return config",
    "config.rho=None: must be a finite number >= 0 and <= 1e+38",
  ),
  "bool for int": (
    "  config.batch_size = True\n  return config",
    "config.batch_size=True: must be an integer >= 1 and <= 2147483647",
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


def test_config_file_and_its_neighbour(refused, config_file, tmp_path):
  """What both set is in the default name of a run; of ours, only flags are."""
  (tmp_path / "neighbour.py").write_text("NUM_EPOCHS = 7\n")
  path = config_file(
    "  import neighbour\n  config.num_epochs = neighbour.NUM_EPOCHS\n"
    "  config.log_every_steps = 9\n  return config"
  )
  name = "digits-mlp-n300x100-sam-rho0.05-seed0"
  for flag, expected in ((f"--config={path}", "-num_epochs=7"), (BASE, "")):
    line = refused("--mode=eval", flag)
    assert line.startswith(f"runs/{name}{expected}: not a run folder")


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_shows_the_flags(start, tmp_path, flag):
  done = start(flag, cwd=tmp_path)
  assert (done.code, done.err) == (0, "")
  for name in ("checkpoint", "config", "data_dir", "mode", "workdir"):
    assert f"\n  --{name}: " in done.out
  assert "verbosity" not in done.out
  assert len(done.out.splitlines()) < 40
  assert max(map(len, done.out.splitlines())) <= 80


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
  assert refused(BASE, f"--workdir={workdir}") == (
    f"--workdir={workdir!r}: must be a folder, but {tmp_path / 'file'} is none"
  )


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
  before = entrance.snapshot(workdir)
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
  assert entrance.snapshot(workdir) == before


def test_missing_checkpoint(refused, finished_run):
  workdir, _ = finished_run
  before = entrance.snapshot(workdir)
  line = refused(
    "--mode=eval", f"--workdir={workdir}", "--checkpoint=99", jax=True
  )
  assert line == f"{workdir}/checkpoints: no checkpoint '99'; there are [1]"
  assert entrance.snapshot(workdir) == before


def test_eval_with_the_config_of_another_run(refused, finished_run):
  workdir, _ = finished_run
  line = refused("--mode=eval", BASE, f"--workdir={workdir}")
  assert line == (
    f"workdir {workdir}: holds a run with num_neurons=[2], not [300, 100];"
    " give another --workdir"
  )


# --- nothing is silently ignored ----------------------------------------------


def test_a_field_that_is_not_read_is_reported(finished_run):
  _, done = finished_run
  lines = [x for x in done.err.splitlines() if x.startswith("warning")]
  assert lines == ["warning: config.adam_b1: not read by this run"]
