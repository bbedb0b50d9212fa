"""A run that was interrupted ends as one that was not, bit for bit."""

from collections.abc import Callable
import errno
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from configs import errors
from run_folder import checkpoints
from run_folder import disk
from run_folder import files
from run_folder import sums
from run_folder import trained_on
from sam import masks
from tests import entrance
from tests import helpers
import train
from training import step as step_lib

ROOT = pathlib.Path(__file__).parents[1]
NUM_STEPS = 33
SMALL = {
  "num_neurons": (8,),
  "augment": True,
  "batch_size": 128,  # 11 steps an epoch.
  "num_epochs": 3,
  "learning_rate": 0.05,
  "weight_decay": 1e-3,
  "rho": 0.1,
  "log_every_steps": 4,
  "checkpoint_every_steps": 7,
  "steps_per_call": 2,
}


def _train(workdir, should_stop=lambda: False, **fields):
  return train.train_and_evaluate(
    helpers.config(**SMALL | fields), str(workdir), should_stop=should_stop
  )


def _stop_before_call(number: int):
  """Returns a `should_stop` that lets `number` calls to the device pass."""
  counter = itertools.count()
  return lambda: next(counter) >= number


def _stop(workdir, number: int, **fields) -> None:
  with pytest.raises(train.Stopped):
    _train(workdir, _stop_before_call(number), **fields)


def _checkpoint(path: pathlib.Path):
  """Returns all arrays of a checkpoint, by item."""
  with ocp.PyTreeCheckpointer() as reader:
    return {
      item: reader.restore(path / item)
      for item in checkpoints.ITEM_NAMES
      if (path / item).exists()
    }


def _steps(workdir) -> list[int]:
  """Returns the steps whose checkpoints are kept."""
  folder = pathlib.Path(workdir, "checkpoints")
  return sorted(int(p.name) for p in folder.glob("[0-9]*") if p.name.isdigit())


def _read_result(workdir):
  result = json.loads((workdir / files.RESULT).read_text())
  assert result.pop("wall_time_seconds") > 0
  del result["commit"]  # Someone may commit in the meantime.
  return result


def _assert_same_run(workdir, reference) -> None:
  """Fails unless two run folders have the same outcome."""
  for name in (files.METRICS, files.CONFIG):
    assert (workdir / name).read_bytes() == (reference / name).read_bytes()
  assert _read_result(workdir) == _read_result(reference)
  assert _steps(workdir) == _steps(reference)
  for step in _steps(reference):
    helpers.assert_same_bits(
      *(
        _checkpoint(w / "checkpoints" / str(step)) for w in (workdir, reference)
      )
    )


def _snapshot(path: pathlib.Path):
  """Returns all files with when they changed."""
  return {
    str(p.relative_to(path)): p.stat().st_mtime_ns
    for p in path.rglob("*")
    if p.is_file()
  }


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
  """The run that was not interrupted."""
  workdir = tmp_path_factory.mktemp("reference")
  result = _train(workdir)
  assert result["status"] == "finished"
  assert result["num_steps"] == NUM_STEPS
  return workdir


# --- stopped in this process -------------------------------------------------


def test_leaves_what_it_should(reference):
  lines = files.read_lines(reference)
  logged = [*range(4, NUM_STEPS, 4), NUM_STEPS]
  evaluated = [11, 22, 33]
  assert [line["step"] for line in lines] == sorted({*logged, *evaluated})
  assert [x["step"] for x in lines if "train_loss" in x] == logged
  assert [x["step"] for x in lines if "test_loss" in x] == evaluated
  best = _read_result(reference)["best"]["step"]
  assert _steps(reference) == sorted({28, 33, best})


def test_stopped_again_and_again(reference, tmp_path):
  """Also with other chunks; the metrics since the last line are resumed too."""
  for calls, steps_per_call in [(0, 2), (3, 1), (5, 5), (0, 2)]:
    _stop(tmp_path, calls, steps_per_call=steps_per_call)
  _train(tmp_path)
  _assert_same_run(tmp_path, reference)


def test_stop_is_asked_before_anything_is_compiled(tmp_path, monkeypatch):
  def fail(*_):
    raise AssertionError("compiled")

  monkeypatch.setattr(step_lib, "compile_chunk", fail)
  with pytest.raises(train.Stopped, match="stopped and saved at step 0"):
    _train(tmp_path, lambda: True)
  assert _steps(tmp_path) == [0]


@pytest.mark.parametrize(
  ("damaged", "resumed"), [([14], 11), ([11, 14], 0), ([11], 14)]
)
def test_damaged_checkpoints(reference, tmp_path, capfd, damaged, resumed):
  _stop(tmp_path, 9)
  # The SIGTERM's own checkpoint is as good as any.
  steps = _steps(tmp_path)
  assert steps == [11, 14]
  for step in damaged:
    path = tmp_path / "checkpoints" / str(step) / "weights"
    data = max(path.rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    data.write_bytes(content)
  capfd.readouterr()
  _train(tmp_path)
  captured = capfd.readouterr()
  assert len(captured.err.splitlines()) == len(damaged)
  assert ("resumed at step" in captured.out) == (resumed > 0)
  if resumed:
    assert f"resumed at step {resumed}\n" in captured.out
  _assert_same_run(tmp_path, reference)


def _cut(lines):
  lines[-1] = lines[-1][: len(lines[-1]) // 2]


def _garble(lines):
  lines[-1] = b"\xff{"


def _drop(lines):
  del lines[-1]


def _repeat(lines):
  lines.append(lines[-1])


@pytest.mark.parametrize("damage", [_cut, _garble, _drop, _repeat])
def test_lines_that_are_gone_are_trained_again(
  reference, tmp_path, capfd, damage
):
  """From a checkpoint before them; a half line spoils only itself."""
  _stop(tmp_path, 9)
  assert _steps(tmp_path) == [11, 14]
  path = tmp_path / files.METRICS
  lines = path.read_bytes().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [4, 8, 11, 12]
  damage(lines)
  path.write_bytes(b"\n".join(lines) + b"\n")
  capfd.readouterr()
  _train(tmp_path)
  captured = capfd.readouterr()
  assert "resumed at step 11\n" in captured.out
  (line,) = captured.err.splitlines()
  assert line.startswith("warning: checkpoint 14 is damaged (metrics.jsonl has")
  _assert_same_run(tmp_path, reference)


def test_lines_that_all_checkpoints_need_are_missed(tmp_path):
  _stop(tmp_path, 9)
  path = tmp_path / files.METRICS
  path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
  before = _snapshot(tmp_path / "checkpoints")
  message = r"no checkpoint can be resumed \(metrics.jsonl has 2 of the 3 lines"
  with pytest.raises(checkpoints.CheckpointError, match=message):
    _train(tmp_path)
  assert _snapshot(tmp_path / "checkpoints") == before


def _no_space_for(name):
  """Returns a patch of `disk.replacing` that has no space for some files."""
  whole = disk.replacing

  def replacing(path):
    if path.name == name:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return whole(path)

  return replacing


@pytest.mark.parametrize("full", ["line", "checkpoint", "result"])
def test_goes_on_once_there_is_space(reference, tmp_path, monkeypatch, full):
  """Each time, the folder is as whole as if the process had been killed."""
  with monkeypatch.context() as patch:
    if full == "line":
      write = disk.Lines.add
      counter = itertools.count()

      def add(self, line):
        if next(counter) < 5:
          return write(self, line)
        os.write(self._file.fileno(), b'{"step": 20, "lo')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

      patch.setattr(disk.Lines, "add", add)
    else:
      name = sums.SUMS if full == "checkpoint" else files.RESULT
      patch.setattr(disk, "replacing", _no_space_for(name))
    with pytest.raises(errors.UserError, match="No space left on the disk"):
      _train(tmp_path)
  _train(tmp_path)
  _assert_same_run(tmp_path, reference)


def test_a_sweep_in_other_calls_says_that_bits_differ(tmp_path, capfd):
  """As on another number of devices, which share the runs."""
  fields = {"sweep": {"seed": (0, 1)}, "num_epochs": 1}
  _stop(tmp_path, 2, **fields)
  path = tmp_path / files.CONFIG
  record = json.loads(path.read_text())
  assert record[trained_on.NUM_AT_ONCE] == 1  # On each of the two devices.
  path.write_text(json.dumps(record | {trained_on.NUM_AT_ONCE: 2}))
  capfd.readouterr()
  _train(tmp_path, **fields)
  (line,) = capfd.readouterr().err.splitlines()
  assert line.startswith("warning: a device trained 2 runs at once, and now")


def test_restored_state_does_not_compile_again(tmp_path, caplog):
  """Two devices: the restored arrays must be replicated as the step's own."""
  assert jax.device_count() == 2
  counts = []
  for should_stop in (_stop_before_call(10), lambda: False):
    caplog.clear()
    with jax.log_compiles(), caplog.at_level("WARNING"):
      try:
        _train(tmp_path, should_stop)
      except train.Stopped:
        assert not counts
    compiled = [
      r.getMessage()
      for r in caplog.records
      if r.getMessage().startswith("Finished XLA compilation of jit(_fun)")
    ]
    counts.append(len(compiled))
  # The chunk and the evaluation of the test split.
  assert counts == [2, 2]


# --- other outcomes ----------------------------------------------------------


def test_finished_run_is_left_alone(reference, monkeypatch):
  def fail(*_):
    raise AssertionError("touched")

  monkeypatch.setattr(checkpoints, "Checkpoints", fail)
  monkeypatch.setattr(train.data, "load_runs", fail)
  before = _snapshot(reference)
  result = _train(reference, log_every_steps=1)
  del result["wall_time_seconds"], result["commit"]
  assert result == _read_result(reference)
  assert _snapshot(reference) == before


def test_other_cadence_resumes(reference, tmp_path):
  _stop(tmp_path, 9)
  cadence = {
    "log_every_steps": 5,
    "eval_every_epochs": 2,
    "checkpoint_every_steps": 6,
    "eval_batch_size": 100,
  }
  _train(tmp_path, **cadence)
  helpers.assert_same_bits(
    *(
      _checkpoint(w / "checkpoints" / str(NUM_STEPS))["weights"]
      for w in (tmp_path, reference)
    )
  )
  config = json.loads((tmp_path / files.CONFIG).read_text())["config"]
  assert config.items() >= cadence.items()


def test_diverged(tmp_path, capfd):
  """The same outcome if stopped when the loss was already not finite."""
  fields = {"loss": "squared_error", "learning_rate": 1e3}
  fields |= {"lr_scheduler": "cosine", "warmup_steps": 20}
  reference = tmp_path / "reference"
  result = _train(reference, **fields)
  assert result["status"] == "diverged"
  assert result["diverged"]["metric"] in ("loss", "gradient_norm")
  step = result["diverged"]["step"]
  print(result["diverged"])
  kept = _steps(reference)
  for saved in kept:
    for leaf in jax.tree.leaves(
      _checkpoint(reference / f"checkpoints/{saved}")
    ):
      assert np.isfinite(leaf).all()
  before = _snapshot(reference)
  assert _train(reference, **fields) == result
  assert _snapshot(reference) == before

  workdir = tmp_path / "stopped"
  fields["steps_per_call"] = 1
  with pytest.raises(train.Stopped, match="not saved"):
    _train(workdir, _stop_before_call(step + 1), **fields)
  assert _steps(workdir) == [s for s in kept if s <= step]
  _train(workdir, **fields | {"steps_per_call": 2})
  _assert_same_run(workdir, reference)


# --- checkpoints as results --------------------------------------------------

EVALUATED = ("step", "test_loss", "test_accuracy")


def _evaluated(workdir) -> dict[int, files.Record]:
  """Returns the logged evaluations by step, without training metrics."""
  return {
    line["step"]: {k: v for k, v in line.items() if k in EVALUATED}
    for line in files.read_lines(workdir)
    if "test_loss" in line
  }


def test_logged_metrics_are_those_of_the_checkpoints(tmp_path):
  """With a large learning rate: the last epoch is hardly the best."""
  fields = {"optimizer": "sgd", "lr_scheduler": "constant"}
  _train(tmp_path, **fields | {"learning_rate": 2.0, "num_epochs": 6})
  _check_evaluations(tmp_path, "test_accuracy", max)


def test_logged_loss_is_that_of_the_checkpoints(tmp_path):
  fields = {
    "dataset": "teacher_student",
    "loss": "squared_error",
    "optimizer": "sgd",
    "augment": False,
    "batch_size": 2000,  # 10 steps an epoch.
    "learning_rate": 0.2,
    "lr_scheduler": "constant",
    "num_epochs": 8,
  }
  _train(tmp_path, **fields)
  _check_evaluations(tmp_path, "test_loss", min)


def _check_evaluations(workdir, metric, better):
  logged = _evaluated(workdir)
  newest = max(logged)
  value = better(line[metric] for line in logged.values())
  best = max(s for s, line in logged.items() if line[metric] == value)
  assert _read_result(workdir)["best"]["step"] == best
  assert _read_result(workdir)["best"][metric] == value
  assert best in _steps(workdir)
  before = _snapshot(workdir)
  for which, step in [("best", best), ("latest", newest), (str(best), best)]:
    assert train.evaluate(str(workdir), which) == [logged[step]]
  assert _snapshot(workdir) == before


# --- weights of another run --------------------------------------------------

RESNET = {"model": "resnet18", "num_filters": 2, "blocks_per_stage": 1}
PRUNED = {"sparsity": 0.5, "pruner": "magnitude"}


def _initial(workdir, **fields):
  """Returns the checkpoint of a run before its first step."""
  _stop(workdir, 0, **RESNET | fields)
  return _checkpoint(workdir / "checkpoints" / "0")


def _trained(workdir, **fields):
  """Makes a run folder with made-up weights; returns them."""
  items = _initial(workdir, **fields)
  rng = np.random.default_rng(0)
  items["weights"] = jax.tree.map(
    lambda x: jax.numpy.asarray(rng.normal(size=x.shape), x.dtype),
    items["weights"],
  )
  if "mask" in items:
    params = items["weights"]["params"]
    items["weights"]["params"] = masks.apply(params, items["mask"])
  saved = checkpoints.Checkpoints(workdir)
  saved.save(5, {"weights": items["weights"]}, None)
  saved.close()
  return items["weights"]


@pytest.mark.parametrize(("source", "target"), [({}, PRUNED), (PRUNED, {})])
def test_starts_from_weights_of_another_run(tmp_path, source, target):
  """Parameters and BatchNorm statistics; pruned, where the run prunes."""
  expected = _trained(tmp_path / "source", seed=1, **source)
  assert jax.tree.leaves(expected["model_state"])
  init_from = str(tmp_path / "source")
  items = _initial(tmp_path / "target", init_from=init_from, **target)
  assert items["training"]["step"] == 0
  if target:
    mask = masks.create("magnitude", expected["params"], target["sparsity"])
    helpers.assert_same_bits(items["mask"], mask)
    expected["params"] = masks.apply(expected["params"], mask)
  helpers.assert_same_bits(items["weights"], expected)
  for leaf in jax.tree.leaves(items["training"]["opt_state"]):
    assert not np.any(leaf)


def test_resumes_without_the_run_it_started_from(reference, tmp_path):
  """Also the mask, which was made from its weights."""
  source = shutil.copytree(reference, tmp_path / "source")
  fields = {"init_from": str(source), "seed": 1, **PRUNED}
  _train(tmp_path / "uninterrupted", **fields)
  _stop(tmp_path / "run", 9, **fields)
  shutil.rmtree(source)
  _train(tmp_path / "run", **fields)
  _assert_same_run(tmp_path / "run", tmp_path / "uninterrupted")


# --- the program itself ------------------------------------------------------

RESNET_FLAGS = (
  "--config=configs/resnet_digits.py",
  "--config.num_filters=2",
  "--config.blocks_per_stage=1",
  "--config.optimizer=sgd",
  "--config.validation_fraction=0",
  "--config.num_epochs=2",  # 22 steps.
  "--config.log_every_steps=3",
  "--config.eval_every_epochs=1",
  "--config.checkpoint_every_steps=4",
)
MLP_FLAGS = (
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(8,)",
  "--config.augment",
  "--config.num_epochs=20",  # 180 steps.
  "--config.steps_per_call=1",
  "--config.log_every_steps=7",
  "--config.eval_every_epochs=5",
  "--config.checkpoint_every_steps=20",
)
# TensorBoard's events take no part in resuming, but seconds to import.
WITHOUT_TENSORBOARD = (
  "import runpy; from run_folder import tensorboard as t;"
  " t.create = lambda workdir: None;"
  " runpy.run_path('main.py', run_name='__main__')"
)
Outcome = tuple[int, list[str], list[str]]


class Program:
  """Starts main.py with the same flags, each time in a process of its own."""

  def __init__(
    self,
    flags: tuple[str, ...],
    workdir: pathlib.Path,
    *,
    tensorboard: bool = True,
  ):
    self.workdir = workdir
    main = ("main.py",) if tensorboard else ("-c", WITHOUT_TENSORBOARD)
    self._args = [*main, *flags, f"--workdir={workdir}"]
    # One device, as most users have.
    self._env = os.environ | {"XLA_FLAGS": ""}

  def _start(self, *flags: str, python: tuple[str, ...] = ()):
    return subprocess.Popen(
      [sys.executable, *python, *self._args, *flags],
      cwd=ROOT,
      env=self._env,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def run(self, *flags: str, python: tuple[str, ...] = ()) -> Outcome:
    """Returns exit code and the lines on stdout and stderr."""
    return self._end(self._start(*flags, python=python))

  def _end(self, process: subprocess.Popen) -> Outcome:
    out, err = process.communicate(timeout=entrance.PATIENCE)
    return process.returncode, out.splitlines(), err.splitlines()

  def interrupt(
    self,
    number: signal.Signals,
    condition: Callable[[], bool] = lambda: True,
    meanwhile: Callable[[], None] = lambda: None,
  ) -> Outcome:
    """Sends a signal to a training process; returns what became of it.

    Args:
      number: the signal.
      condition: sends it as soon as this holds, once the process trains.
      meanwhile: called while the process stands still, before the signal.
    """
    metrics = self.workdir / files.METRICS
    # The file is made anew when a run is resumed.
    before = metrics.stat().st_ino if metrics.exists() else None
    process = self._start()
    try:
      while (
        not metrics.exists()
        or metrics.stat().st_ino == before
        or not condition()
      ):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
      process.send_signal(signal.SIGSTOP)
      meanwhile()
      process.send_signal(number)
      process.send_signal(signal.SIGCONT)
      return self._end(process)
    finally:
      process.kill()

  def has_logged(self, steps: int) -> Callable[[], bool]:
    """Tells when it is so many steps past the lines of earlier runs."""
    before = max((x["step"] for x in files.read_lines(self.workdir)), default=0)
    return lambda: any(
      line["step"] >= before + steps for line in files.read_lines(self.workdir)
    )

  def is_saving(self) -> bool:
    return any(self.workdir.glob("checkpoints/*tmp*"))


def _check_stopped(
  program: Program, outcome: Outcome, number: signal.Signals
) -> None:
  returned, out, err = outcome
  assert (returned, err) == (-number, [])
  step = _steps(program.workdir)[-1]
  assert out[-1] == (
    f"stopped and saved at step {step}; the same command resumes"
  )


@pytest.fixture(scope="module")
def chance():
  """Chooses when to interrupt; a failure shows how to have it again."""
  seed = os.environ.get("RESUME_TEST_SEED", str(time.time_ns()))
  print(f"RESUME_TEST_SEED={seed}")
  return random.Random(seed)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The program after an uninterrupted run."""
  workdir = tmp_path_factory.mktemp("finished")
  program = Program(MLP_FLAGS, workdir)
  assert program.run()[::2] == (0, [])
  return program


def test_killed_convolutional_run(tmp_path, chance):
  uninterrupted, program = (
    Program(RESNET_FLAGS, tmp_path / name, tensorboard=False)
    for name in ("uninterrupted", "killed")
  )
  assert uninterrupted.run()[::2] == (0, [])
  step = chance.randrange(3, 19)
  print(f"SIGKILL after step {step}")
  outcome = program.interrupt(signal.SIGKILL, program.has_logged(step))
  assert outcome[::2] == (-signal.SIGKILL, [])
  assert program.run()[::2] == (0, [])
  _assert_same_run(program.workdir, uninterrupted.workdir)


def test_killed_again_and_again(tmp_path, chance, finished):
  """While it saves; then stopped twice, and then damaged."""
  program = Program(MLP_FLAGS, tmp_path, tensorboard=False)
  steps = chance.choices(range(1, 50), k=2)  # Of 180; some pass unasked.
  print(f"SIGINT and SIGTERM after {steps} more steps")

  def start_another():
    code, _, err = program.run()
    assert code == 2
    assert err == [f"error: workdir {tmp_path}: in use by another process"]

  program.interrupt(signal.SIGKILL, program.is_saving)
  outcome = program.interrupt(signal.SIGINT, program.has_logged(steps[0]))
  _check_stopped(program, outcome, signal.SIGINT)
  outcome = program.interrupt(
    signal.SIGTERM, program.has_logged(steps[1]), start_another
  )
  _check_stopped(program, outcome, signal.SIGTERM)

  newest = tmp_path / "checkpoints" / str(_steps(tmp_path)[-1])
  os.truncate(newest / "training" / "manifest.ocdbt", 10)
  code, _, err = program.run()
  assert (code, len(err)) == (0, 1)
  assert err[0].startswith(f"warning: checkpoint {newest.name} is damaged")
  _assert_same_run(tmp_path, finished.workdir)


def test_finished_program(finished):
  """Says so, without a compilation and without TensorFlow."""
  before = _snapshot(finished.workdir)
  code, out, imported = finished.run(python=("-X", "importtime"))
  assert code == 0
  assert out[-1].startswith("finished: ")
  names = {line.split("|")[-1].strip() for line in imported}
  assert "jax" in names
  assert not names & {"tensorflow", "tensorboard"}
  assert _snapshot(finished.workdir) == before


def test_other_run_in_the_folder(finished):
  before = _snapshot(finished.workdir)
  code, out, err = finished.run("--config.learning_rate=0.3")
  assert (code, out, len(err)) == (2, [], 1)
  assert "holds a run with learning_rate=0.1, not 0.3;" in err[0]
  assert _snapshot(finished.workdir) == before


def test_evaluates_the_best_checkpoint(finished):
  code, out, err = finished.run("--mode=eval", "--checkpoint=best")
  assert (code, len(out), err) == (0, 1, [])
  best = _read_result(finished.workdir)["best"]
  evaluated = json.loads(out[0])
  assert evaluated.items() <= best.items()
  assert evaluated.keys() >= {"step", "validation_loss", "test_accuracy"}


def test_diverged_program(tmp_path):
  flags = (*MLP_FLAGS, "--config.learning_rate=1e12")
  program = Program(flags, tmp_path, tensorboard=False)
  code, _, err = program.run()
  diverged = _read_result(tmp_path)["diverged"]
  line = "diverged: {metric} is not finite at step {step}".format(**diverged)
  assert (code, err) == (3, [line])
