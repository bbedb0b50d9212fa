"""One run over several processes is the run of one process."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from run_folder import files
from tests import tfds_fixtures
from tests import together
import train

MLP = {"num_neurons": [8], "validation_fraction": 0.0, "log_every_steps": 5}
RESNET = {
  "num_filters": 2,
  "num_train_steps": 6,
  "log_every_steps": 2,
  "batch_size": 32,
}
RUNS = {
  "mlp": ("mlp_digits", MLP | {"num_train_steps": 50}),
  "microbatches": (
    "mlp_digits",
    MLP | {"num_train_steps": 10, "microbatch_size": 16, "augment": True},
  ),
  "shared perturbation": (
    "mlp_digits",
    MLP | {"num_train_steps": 10, "sync_perturbation": True},
  ),
  "batch norm": ("resnet_digits", RESNET),
  "shared batch norm": ("resnet_digits", RESNET | {"sync_batch_norm": True}),
  "whole splits": (
    "gcn_motifs",
    {"hidden_size": 4, "num_train_steps": 4, "eval_batch_size": 64},
  ),
  # 26 examples make six batches of 4; the last batch of 7 examples has one.
  "stream": (
    "resnet_imagenet",
    {
      "model": "mlp",
      "num_neurons": [2],
      "batch_size": 4,
      "num_train_steps": 7,
      "eval_batch_size": 6,
      "log_every_steps": 1,
    },
  ),
}


def arrays(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns all numbers of the newest checkpoint."""
  folder = workdir / "checkpoints"
  step = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
  found = {"step": np.array(step)}
  with ocp.StandardCheckpointer() as checkpointer:
    for item in ("weights", "training"):
      tree = checkpointer.restore(folder.absolute() / str(step) / item)
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The folder of each run, by one process, and by two."""
  folder = tmp_path_factory.mktemp("hosts")
  tfds_fixtures.write_imagenet(folder / "data", num_train=26, num_test=7)
  lists = {}
  for who in ("one", "two"):
    lists[who] = folder / f"{who}.json"
    runs = [
      {
        "config": config,
        "fields": fields,
        "workdir": str(folder / who / name),
        "data_dir": str(folder / "data"),
      }
      for name, (config, fields) in RUNS.items()
    ]
    lists[who].write_text(json.dumps(runs))
  script = ["-m", "tests.trains"]
  group = together.Group([str(lists["two"])], commands={0: script, 1: script})
  one = subprocess.run(
    [sys.executable, *script, lists["one"]],
    cwd=together.ROOT,
    env=os.environ
    | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    capture_output=True,
    text=True,
  )
  assert one.returncode == 0, one.stderr
  codes, _ = group.end()
  assert codes == [0, 0], group.text(0, 2) + group.text(1, 2)
  return folder


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_trains_on_two_devices(name, trained):
  one, two = (trained / who / name for who in ("one", "two"))
  mine, theirs = arrays(two), arrays(one)
  assert mine.keys() == theirs.keys()
  for key, value in mine.items():
    np.testing.assert_allclose(value, theirs[key], 0, 1e-10, err_msg=key)
  lines = [files.read_lines(folder) for folder in (two, one)]
  assert len(lines[0]) == len(lines[1]) > 0
  for line, other in zip(*lines, strict=True):
    assert line == pytest.approx(other, rel=0, abs=1e-10)


def test_one_process_evaluates_what_several_trained(trained):
  (record,) = train.evaluate(str(trained / "two" / "whole splits"))
  (last,) = files.read_lines(trained / "two" / "whole splits")[-1:]
  name = "test_mean_average_precision"
  assert record[name] == pytest.approx(last[name], abs=1e-10)
