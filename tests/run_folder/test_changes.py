"""What of a run may change when it is resumed."""

import json
import shutil

import jax
import orbax.checkpoint as ocp
import pytest

from run_folder import changes
from run_folder import files
from tests import helpers
import train

SMALL = {
  "num_neurons": (8,),
  "batch_size": 128,  # 11 steps an epoch.
  "lr_scheduler": "constant",
  "num_epochs": 2,
  "rho": 0.1,
  "log_every_steps": 4,
  "steps_per_call": 2,
  "devices_per_run": 1,
}


def identity(num_devices=1, **fields):
  config = helpers.config(**SMALL | fields)
  return files.identity(config) | {"num_devices": num_devices}


MICRO = {"microbatch_size": 32}
LONGER = {"num_epochs": 3}
SCHEDULE = {"lr_scheduler": "inverse_sqrt", "warmup_steps": 5}
STAGES = {
  "stage_starts": (0.5,),
  "stage_lr_factors": (1.0,),
  "stage_rho_factors": (1.0,),
}


@pytest.mark.parametrize(
  ("old", "new", "want"),
  [
    ({}, {}, set()),
    ({}, LONGER, {"num_epochs"}),
    (SCHEDULE, SCHEDULE | LONGER, {"num_epochs"}),
    ({"num_train_steps": 5}, {"num_train_steps": 6}, {"num_train_steps"}),
    ({}, {"num_epochs": 1}, set()),
    ({}, {"num_train_steps": 500}, set()),
    ({"lr_scheduler": "step"}, LONGER | {"lr_scheduler": "step"}, set()),
    (STAGES, STAGES | LONGER, set()),
    ({"sam_begin": 0.5}, {"sam_begin": 0.5, **LONGER}, set()),
    ({"sam_end": 0.5}, {"sam_end": 0.5, **LONGER}, set()),
    ({"optimizer": "sgd"}, {"optimizer": "sgd", **LONGER}, {"num_epochs"}),
    (MICRO, {"num_devices": 2, **MICRO}, {"num_devices"}),
    (
      MICRO,
      {"num_devices": 2, **MICRO, **LONGER},
      {"num_devices", "num_epochs"},
    ),
    ({}, {"num_devices": 2}, set()),
    (
      MICRO | {"sam_end": 0.5},
      {"num_devices": 2, "sam_end": 0.5, **MICRO},
      set(),
    ),
    (
      MICRO | {"model": "resnet18", "sync_batch_norm": True},
      {
        "num_devices": 2,
        "model": "resnet18",
        "sync_batch_norm": True,
        **MICRO,
      },
      set(),
    ),
    (
      {"optimizer": "sgd", **MICRO},
      {"num_devices": 2, "optimizer": "sgd", **MICRO},
      set(),
    ),
  ],
)
def test_allowed(old, new, want):
  assert changes.allowed(identity(**old), identity(**new)) == want


def run(workdir, **fields):
  """Trains on one device, unless the fields say otherwise."""
  return train.train_and_evaluate(
    helpers.config(**SMALL | fields), str(workdir)
  )


def weights(workdir):
  step = max(int(p.name) for p in (workdir / "checkpoints").glob("[0-9]*"))
  with ocp.PyTreeCheckpointer() as reader:
    return step, reader.restore(workdir / "checkpoints" / str(step) / "weights")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  path = tmp_path_factory.mktemp("short")
  run(path)
  return path


@pytest.fixture
def short(finished, tmp_path):
  return shutil.copytree(finished, tmp_path / "run")


def test_a_longer_run_is_that_from_the_start(short, tmp_path):
  result = run(short, **LONGER)
  assert result["num_steps"] == 33
  whole = run(tmp_path / "whole", **LONGER)
  assert weights(short)[0] == weights(tmp_path / "whole")[0] == 33
  helpers.assert_same_bits(weights(short)[1], weights(tmp_path / "whole")[1])
  assert result["final"]["test_loss"] == whole["final"]["test_loss"]
  steps = [line["step"] for line in files.read_lines(short)]
  assert steps == sorted(set(steps))
  assert run(short, **LONGER) == result  # It is finished.
  with pytest.raises(files.RunError, match="num_epochs=3, not 2; give another"):
    run(short)


def test_killed_while_it_becomes_longer(short):
  """There is never a config of one length with the result of another."""
  config = helpers.config(**SMALL | LONGER)
  files.RunFolder(str(short), config, 1).close()
  assert not (short / files.RESULT).exists()
  assert run(short, **LONGER)["num_steps"] == 33


def test_what_depends_on_the_length_is_refused(tmp_path):
  fields = {"lr_scheduler": "cosine", "num_epochs": 1}
  files.RunFolder(str(tmp_path), helpers.config(**SMALL | fields), 1).close()
  with pytest.raises(files.RunError) as e:
    run(tmp_path, **fields | {"num_epochs": 2})
  assert str(e.value) == (
    f"workdir {tmp_path}: holds a run with num_epochs=1, not 2;"
    " config.lr_scheduler='cosine' depends on the length, so give another"
    f" --workdir, with config.init_from='{tmp_path}' to train on from its"
    " weights"
  )


def test_evaluation_takes_no_other_length(short):
  theirs = files.identity(files.load_config(str(short)))
  with pytest.raises(files.RunError, match=r"not 3; give another --workdir$"):
    files.check_same(
      short, theirs, files.identity(helpers.config(**SMALL | LONGER))
    )


def test_settings_of_a_study_that_computes_have_no_schedule():
  with pytest.raises(files.RunError, match=r"num_epochs=1, not 2; give"):
    files.check_same("folder", {"num_epochs": 1}, {"num_epochs": 2})


def test_another_number_of_devices_is_refused(short):
  with pytest.raises(files.RunError) as e:
    run(short, devices_per_run=2)
  assert str(e.value) == (
    f"workdir {short}: holds a run with num_devices=1, not 2; spread its"
    " batches over as many (config.devices_per_run=1), or give another"
    " --workdir; only a run with config.microbatch_size can be resumed on"
    " another number"
  )


MODULE = """
from flax import linen as nn


class Net(nn.Module):
  num_outputs: int
  dtype: str = "float32"
  param_dtype: str = "float32"

  @nn.compact
  def __call__(self, x, train):
    dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
    x = nn.Dense(6, **dtypes)(x.reshape(len(x), -1))
    norm = nn.BatchNorm(
      not train, force_float32_reductions=False, **dtypes
    )
    x = nn.relu(norm(x))
    return nn.Dense(self.num_outputs, **dtypes)(x)
"""


def test_microbatches_are_the_same_on_any_number_of_devices(tmp_path):
  """To 1e-10 in float64, BatchNorm included."""
  (tmp_path / "net.py").write_text(MODULE)
  fields = {
    "dtype": "float64",
    "microbatch_size": 16,
    "batch_size": 64,
    "model": f"{tmp_path}/net.py:Net",
    "num_epochs": 100,
    "num_train_steps": 4,
  }
  with jax.enable_x64(True):
    run(tmp_path / "half", **fields)
    longer = fields | {"num_train_steps": 8}
    run(tmp_path / "half", **longer, devices_per_run=2)
    run(tmp_path / "whole", **longer)
  half, whole = weights(tmp_path / "half"), weights(tmp_path / "whole")
  assert half[0] == whole[0] == 8
  assert helpers.max_difference(half[1], whole[1]) < 1e-10
  saved = json.loads((tmp_path / "half" / files.CONFIG).read_text())
  assert saved["identity"]["num_devices"] == 2
