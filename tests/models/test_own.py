"""A Flax module of one's own, from its file to what is read back."""

import json
import re
import sys

import jax
import numpy as np
import pandas as pd
import pytest

from analysis import restored
from analysis import table as table_lib
from configs import base
from configs import errors
from configs import model_args
import data
import report
from run_folder import files
from run_folder import naming
from sharpness import measures
from tests import helpers
import train
from training import objectives
from training import setup as setup_lib

MODULE = '''
from flax import linen as nn
import layers_of_mine


class Net(nn.Module):
  """Has BatchNorm and dropout; its width is a field."""
  num_outputs: int
  width: int = 4
  act: str = "relu"

  @nn.compact
  def __call__(self, x, train: bool):
    x = nn.Dense(self.width)(x.reshape(len(x), -1))
    x = nn.BatchNorm(use_running_average=not train)(x)
    x = layers_of_mine.activation(self.act)(x)
    x = nn.Dropout(0.1, deterministic=not train)(x)
    return nn.Dense(self.num_outputs)(x)


class Plain(nn.Module):
  """Does not take `train`, and has convolutions."""
  num_outputs: int

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(3, (3, 3))(x))
    return nn.Dense(self.num_outputs)(x.mean((1, 2)))


class Double(nn.Module):
  num_outputs: int
  dtype: str = "float32"
  param_dtype: str = "float32"

  @nn.compact
  def __call__(self, x, **kwargs):
    dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
    x = nn.Dense(self.num_outputs, **dtypes)(x.reshape(len(x), -1))
    return nn.BatchNorm(not kwargs["train"], **dtypes)(x)


class NoOutputs(nn.Module):
  width: int = 3


class Wide(nn.Module):
  num_outputs: int

  @nn.compact
  def __call__(self, x):
    return nn.Dense(self.num_outputs + 1)(x.reshape(len(x), -1))


class Fails(nn.Module):
  num_outputs: int

  def __call__(self, x):
    return x @ x


class NoParams(nn.Module):
  num_outputs: int

  def __call__(self, x):
    return x.reshape(len(x), -1)[:, : self.num_outputs]


class Sentence(nn.Module):
  """One prediction for all words."""
  num_outputs: int

  @nn.compact
  def __call__(self, x):
    return nn.Dense(self.num_outputs)(nn.Embed(200, 8)(x).mean(1))


class NoKernel(nn.Module):
  num_outputs: int

  @nn.compact
  def __call__(self, x):
    w = self.param("w", nn.initializers.ones, (64, self.num_outputs))
    return x.reshape(len(x), -1) @ w


def function(num_outputs):
  return None
'''
# A neighbour of that file.
LAYERS = """
from flax import linen as nn


def activation(name):
  return getattr(nn, name)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("mine")
  (path / "net.py").write_text(MODULE)
  (path / "layers_of_mine.py").write_text(LAYERS)
  (path / "broken.py").write_text("import flax\nimport nothing_of_this_name\n")
  return path


def config(place, **fields):
  return helpers.config(model=str(place), batch_size=16, **fields)


def create(place, **fields):
  return setup_lib.create(config(place, **fields), helpers.toy_dataset())


def test_its_fields_are_set(folder):
  setup = create(f"{folder}/net.py:Net", model_args="width=7, act='tanh'")
  module = setup.model
  assert (module.num_outputs, module.width, module.act) == (4, 7, "tanh")
  again = create(f"{folder}/net.py:Net", model_args="width=7, act='tanh'")
  assert module == again.model  # So that compiled programs are shared.


def test_convolutions_are_found(folder):
  assert create(f"{folder}/net.py:Plain").is_convolutional
  assert not create(f"{folder}/net.py:Net").is_convolutional


def test_a_file_that_was_edited_is_read_anew(tmp_path):
  path = tmp_path / "mine.py"
  for width in (3, 5):
    path.write_text(MODULE.replace("import layers_of_mine", f"# {width}"))
    text = path.read_text().replace("width: int = 4", f"width: int = {width}")
    path.write_text(text.replace("layers_of_mine.activation(self.act)", "abs"))
    c = config(f"{path}:Net")
    model = setup_lib.create_model(c, helpers.toy_dataset())
    assert model.width == width


REFUSED = {
  "no file": ("none.py:Net", {}, "config.model=.*: there is no file /.*none"),
  "no class": ("net.py:Nothing", {}, "Nothing must be a class of flax.linen"),
  "function": ("net.py:function", {}, "function must be a class of flax"),
  "import": (
    "broken.py:Net",
    {},
    r"broken\.py:Net': line 2: ModuleNotFoundError: No module named 'nothing_",
  ),
  "num_outputs": ("net.py:NoOutputs", {}, "must have a field num_outputs"),
  "field": (
    "net.py:Net",
    {"model_args": "widht=3"},
    "config.model_args: Net has no field 'widht' to set; it has width, act",
  ),
  "outputs": (
    "net.py:Net",
    {"model_args": "num_outputs=3"},
    "Net has no field 'num_outputs' to set",
  ),
  "dtype": ("net.py:Net", {"dtype": "bfloat16"}, "config.dtype='bfloat16': mu"),
  "shape": (
    "net.py:Wide",
    {},
    r"Wide returns shape \(2, 5\) for 2 inputs; must be \(2, 4\)",
  ),
  "call": ("net.py:Fails", {}, r"Fails': line 59: TypeError: dot_general"),
  "value": ("net.py:Net", {"model_args": "act='none'"}, "AttributeError: "),
  "no parameters": ("net.py:NoParams", {}, "NoParams has no parameters to tr"),
  "complex": (
    "net.py:Double",
    {"model_args": "param_dtype='complex64'"},
    "Double has parameters in complex64; must be float32 or float64",
  ),
  "half": (
    "net.py:Double",
    {"model_args": "param_dtype='bfloat16'"},
    "Double has parameters in bfloat16; must be float32 or float64",
  ),
  "nothing to prune": (
    "net.py:NoKernel",
    {"pruner": "random", "sparsity": 0.5},
    "config.sparsity=0.5: must be 0 with .* which has no parameter named ker",
  ),
}


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize(
  ("place", "fields", "line"), REFUSED.values(), ids=REFUSED
)
def test_what_cannot_be_used(folder, place, fields, line):
  with pytest.raises(errors.ConfigError, match=line) as e:
    create(folder / place, **fields)
  assert "\n" not in str(e.value)


def test_one_prediction_for_a_sentence_of_tags(folder):
  c = config(folder / "net.py:Sentence", dataset="hidden_markov")
  line = r"Sentence returns shape \(2, \d+\) .* must be \(2, 24, \d+\)"
  with pytest.raises(errors.ConfigError, match=line):
    setup_lib.create(c, data.load(c))


@pytest.mark.parametrize(
  ("text", "values"),
  [
    ("", {}),
    ("width=64", {"width": 64}),
    (
      "a=[1, 2], b='x', c=-0.5, d=True",
      {"a": (1, 2), "b": "x", "c": -0.5, "d": True},
    ),
  ],
)
def test_model_args(text, values):
  assert model_args.parse(text) == values


@pytest.mark.parametrize(
  "text",
  ["64", "width", "width=", "a=f()", "a=1)(b=2", "**{'a': 1}", "a=1,a=2"],
)
def test_wrong_model_args(text):
  with pytest.raises(errors.ConfigError, match="must be keywords"):
    model_args.parse(text)


def test_its_numbers_are_sizes():
  assert model_args.numbers("width=8, act='relu', bias=True") == {"width": 8}
  rest = model_args.without_numbers("width=8, act='relu', bias=True")
  assert rest == "act='relu', bias=True"


def test_where_a_process_starts_does_not_matter(folder, monkeypatch):
  monkeypatch.chdir(folder)
  here = config("net.py:Net", model_args="width=3")
  assert here.model == f"{folder}/net.py:Net"
  assert "digits-net.py_Net-sam" in naming.run_name(here, ["model"])
  monkeypatch.chdir("/")
  inside = re.escape(str(folder)[1:].replace("/", "_"))
  name = naming.run_name(here, ["model_args"])
  assert re.search(rf"digits-{inside}_net\.py_Net-.*model_args=width_3", name)


# --- trained ------------------------------------------------------------------


def train_it(folder, workdir, width):
  c = config(
    f"{folder}/net.py:Net",
    model_args=f"width={width}, act='relu'",
    pruner="magnitude",
    sparsity=0.25,
    num_train_steps=6,
    data_seed=3,
  )
  c.sweep.rho = (0.0, 0.1)
  return train.train_and_evaluate(c, str(workdir))


@pytest.fixture(scope="module")
def workdirs(folder, tmp_path_factory):
  """Sweeps of two widths."""
  made = [tmp_path_factory.mktemp(f"width{width}") for width in (4, 8)]
  for path, width in zip(made, (4, 8), strict=True):
    train_it(folder, path, width)
  return made


def test_it_is_pruned_and_counted(workdirs):
  for path, width in zip(workdirs, (4, 8), strict=True):
    for run in files.read_runs(path):
      assert run["status"] == "finished"
      kernels = 64 * width + width * 10
      assert run["num_parameters"] == kernels + width + 10 + 2 * width
      pruned = run["num_parameters"] - run["num_unpruned_parameters"]
      assert pruned == kernels // 4


def test_it_is_evaluated(workdirs):
  for run, found in zip(
    files.read_runs(workdirs[0]), train.evaluate(str(workdirs[0])), strict=True
  ):
    assert found["test_loss"] == pytest.approx(run["final"]["test_loss"])


def test_its_sharpness(workdirs):
  run = restored.load(workdirs[0])[1]
  objective = run.objective(num_examples=64)
  found = measures.measure(objectives.point(run.config, objective), ["trace"])
  assert np.isfinite(found["trace"])


def test_batch_statistics_with_dropout(workdirs):
  """The loss is then no function of the weights."""
  run = restored.load(workdirs[0])[1]
  objective = run.objective(batch_statistics=True)
  with pytest.raises(errors.UserError, match=r"as dropout does \(Net\)"):
    measures.measure(objectives.point(run.config, objective), ["trace"])


def test_its_width_is_the_size_in_the_report(workdirs, monkeypatch, capsys):
  monkeypatch.setattr(sys, "argv", ["report.py", *map(str, workdirs)])
  report.main()
  out = capsys.readouterr().out
  assert "4 runs; they differ in rho, model_args.width\n" in out.replace(
    "optimizer, rho", "rho"
  )
  rows = [line.split() for line in out.splitlines()]
  header = next(row for row in rows if row[:1] == ["parameters"])
  assert header[1] == "model_args.width"
  sizes = {row[1] for row in rows if row[2:3] == ["0.1"] and "." in row[-1]}
  assert sizes <= {"4", "8"}


def test_other_args_are_conditions():
  runs = pd.DataFrame({"model_args": ["width=4, act='relu'", "", "width=8"]})
  split, sizes = table_lib.split_model_args(runs)
  assert sizes == ["model_args.width"]
  assert split["model_args"].tolist() == ["act='relu'", "", ""]
  assert split["model_args.width"].tolist() == [4, 0, 8]


def test_it_trains_from_another_folder(start, folder, tmp_path):
  """By a relative path, with convolutions, and without `train`."""
  done = start(
    f"--config={base.__file__}",
    "--config.model=net.py:Plain",
    "--config.num_train_steps=2",
    f"--workdir={tmp_path / 'run'}",
    cwd=folder,
    jax=True,
  )
  assert done.code == 0, done.err
  assert "net.py:Plain: " in done.out
  saved = json.loads((tmp_path / "run" / "config.json").read_text())
  assert saved["config"]["model"] == f"{folder}/net.py:Plain"


def test_a_wrong_one_ends_the_program(refused, tmp_path):
  (tmp_path / "net.py").write_text("class Net: pass\n")
  line = refused(
    f"--config={base.__file__}", "--config.model=net.py:Net", jax=True
  )
  place = f"{tmp_path}/net.py:Net"
  assert line == f"config.model={place!r}: Net must be a class of" + (
    " flax.linen.Module"
  )


def test_float64(folder):
  """Flax's BatchNorm keeps its averages in float32."""
  with jax.enable_x64(True):
    c = config(f"{folder}/net.py:Double", dtype="float64")
    state = helpers.Trainer(c, helpers.toy_dataset()).run(2)
  assert state.params["Dense_0"]["kernel"].dtype == np.float64
  averages = state.model_state["batch_stats"]["BatchNorm_0"]
  assert averages["mean"].dtype == np.float32
