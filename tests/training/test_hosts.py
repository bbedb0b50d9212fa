"""One run over several processes is the run of one process."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from tests import together
import train

MLP = {
  "num_neurons": [8],
  "validation_fraction": 0.0,
  "log_every_steps": 5,
  "num_train_steps": 10,
}
NORMALIZED = """
from typing import Any
import flax.linen as nn

class Normalized(nn.Module):
  num_outputs: int
  dtype: Any
  param_dtype: Any

  @nn.compact
  def __call__(self, x, train):
    types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
    x = nn.Dense(4, **types)(x.reshape(len(x), -1))
    x = nn.relu(nn.BatchNorm(not train, **types)(x))
    return nn.Dense(self.num_outputs, **types)(x)
"""
RUNS = {
  "mlp": MLP | {"num_train_steps": 50},
  "microbatches": MLP | {"microbatch_size": 16, "augment": True},
  "shared perturbation": MLP | {"sync_perturbation": True},
  "batch norm": MLP | {"model": "PATH:Normalized"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
  """The folders of all runs, by 'one' process, and by 'two'."""
  folder = tmp_path_factory.mktemp("hosts")
  (folder / "normalized.py").write_text(NORMALIZED)
  for who in ("one", "two"):
    runs = [
      {"config": "mlp_digits", "workdir": str(folder / who / name)}
      | {"fields": fields}
      for name, fields in RUNS.items()
    ]
    text = json.dumps(runs).replace("PATH", str(folder / "normalized.py"))
    (folder / f"{who}.json").write_text(text)
  script = ["-m", "tests.trains"]
  path = str(folder / "two.json")
  group = together.Group([path], commands={0: script, 1: script})
  one = subprocess.run(
    [sys.executable, *script, str(folder / "one.json")],
    cwd=together.ROOT,
    env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    capture_output=True,
    text=True,
  )
  assert one.returncode == 0, one.stderr
  codes, _ = group.end()
  assert codes == [0, 0], group.text(0, 2) + group.text(1, 2)
  return folder


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_what_one_trains_on_two_devices(name, trained):
  assert together.gap(trained / "two" / name, trained / "one" / name) < 1e-10


def test_one_process_evaluates_what_several_trained(trained):
  one, two = (trained / who / "batch norm" for who in ("one", "two"))
  with jax.enable_x64():
    assert train.evaluate(str(one)) == train.evaluate(str(two))


CONNECTS = """
import sys, time
from configs import errors
from program import cli
from training import several
with several.connected(cli.host(sys.argv[1].partition("=")[2])) as hosts:
  index = hosts.part[0]
  {what}
"""
# What process 1 does while the other waits, with the code and words of both.
FAILURES = {
  "raise errors.UserError('no disk')": (2, "no disk"),
  "raise ValueError('made up')": (1, "ValueError: made up"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_all_end_with_the_message_of_the_one_that_fails(what):
  code, text = FAILURES[what]
  fails = f"if index: {what}\n  time.sleep(600)"
  script = ["-c", CONNECTS.format(what=fails)]
  group = together.Group([], commands={0: script, 1: script})
  codes, _ = group.end()
  assert codes[0] == code, group.text(0, 2)
  assert group.text(0, 2) == f"error: process 1 failed: {text}\n"
  assert text in group.text(1, 2)


def test_other_settings_are_refused():
  same = "hosts.check_same('config', {'rho': 0.1 * (1 + index)})"
  script = ["-c", CONNECTS.format(what=same)]
  group = together.Group([], commands={0: script, 1: script})
  codes, _ = group.end()
  line = "config: process 1 has {'rho': 0.2}, process 0 {'rho': 0.1}"
  assert line in group.text(0, 2) + group.text(1, 2)
  assert codes[0] == 2
