"""Every config, end to end, on small data sets with the real TFDS schema."""

import importlib
import pathlib

import pytest

from run_folder import files
from tests import tfds_fixtures
import train

pytestmark = pytest.mark.usefixtures("short_resnets")

CONFIGS = {
  path.stem
  for path in pathlib.Path("configs").glob("*.py")
  # Of games, see test_ppo.py.
  if "def get_config" in path.read_text()
  and path.stem != "base"
  and not path.stem.startswith("ppo_")
}
# Evaluates a number of examples that is not a multiple of the batch.
SMALL = {
  "batch_size": 16,
  "eval_batch_size": 8,
  "log_every_steps": 2,
  "eval_every_epochs": 2,
}
# What compiles for long takes no gradient twice.
PLAIN = {"optimizer": "sgd"}
# A vmapped sweep of pruned networks, some of whose labels are wrong.
SWEEP = {
  "sweep.seed": (0, 1),
  "sparsity": 0.2,
  "pruner": "random",
  "label_noise": 0.05,
}
FIELDS = {
  "mlp_digits": {"num_epochs": 4, "log_every_steps": 9},
  "resnet_digits": {"num_epochs": 4, "num_filters": 8, "log_every_steps": 9},
  "mlp_teacher_student": {"num_epochs": 2, "num_neurons": (100,)},
  "mlp_mnist": {**SMALL, "num_epochs": 6, "validation_fraction": 0.1},
  "mlp_fashion_mnist": {**SMALL, "num_epochs": 6},
  "resnet_cifar": {**SMALL, "num_epochs": 6, "num_filters": 2},
  "vgg_digits": {
    **PLAIN,
    "num_epochs": 12,
    "log_every_steps": 9,
    "lr_scheduler": "constant",
  },
  "vgg_cifar": {**SMALL, **PLAIN, "num_epochs": 12, "num_filters": 4},
  "vit_digits": {
    **SMALL,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "num_train_steps": 60,
    "log_every_steps": 10,
    "hidden_size": 16,
    "num_layers": 1,
  },
  "vit_cifar": {
    **SMALL,
    "num_epochs": 12,
    "hidden_size": 16,
    "num_layers": 1,
  },
  "transformer_hmm": {
    **SMALL,
    **SWEEP,
    "optimizer": "adamw",
    "num_train_steps": 60,
    "log_every_steps": 10,
    "hidden_size": 16,
    "num_layers": 1,
    "dropout": 0.0,
  },
  "lstm_lexicon": {
    **SMALL,
    **SWEEP,
    "num_train_steps": 100,
    "log_every_steps": 25,
    "hidden_size": 8,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "dropout": 0.0,
  },
  "transformer_pos": {
    **SMALL,
    "num_train_steps": 40,
    "warmup_steps": 10,
    "hidden_size": 16,
    "num_layers": 1,
    "dropout": 0.1,
  },
  "lstm_sst2": {
    **SMALL,
    "num_epochs": 12,
    "hidden_size": 8,
    "learning_rate": 0.5,
    "dropout": 0.0,
    "rho": 0.02,
  },
  "gcn_motifs": {
    **SMALL,
    "eval_batch_size": 300,
    "num_train_steps": 120,
    "log_every_steps": 30,
    "message_passing_steps": 2,
    "hidden_size": 8,
    "learning_rate": 0.02,
  },
  "gcn_molpcba": {
    **SMALL,
    "num_train_steps": 36,
    "eval_every_epochs": 6,
    "hidden_size": 8,
    "learning_rate": 0.01,
    "message_passing_steps": 1,
    "dropout": 0.0,
  },
  "regression_1d": {"num_train_steps": 1000, "log_every_steps": 100},
  "matrix_factorization": {"num_epochs": 2},
  "two_layer_trigonometric": {"num_epochs": 60, "learning_rate": 0.003},
  "xor": {"num_epochs": 200, "log_every_steps": 2000, "eval_every_epochs": 50},
  "signal_noise": {"input_dim": 500},
  "resnet_imagenet": {
    **SMALL,
    **PLAIN,
    "num_train_steps": 12,
    "batch_size": 8,
    "num_filters": 2,
    "warmup_steps": 2,
  },
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  for name in ("mnist", "fashion_mnist", "cifar10"):
    tfds_fixtures.write(name, folder, num_train=75, num_test=21, num_labels=5)
  tfds_fixtures.write_grc_perseus(folder, num_train=50, num_test=21)
  tfds_fixtures.write_sst2(folder, num_train=75, num_test=21)
  tfds_fixtures.write_ogbg_molpcba(folder, num_train=50, num_test=21)
  tfds_fixtures.write_imagenet(folder, num_train=20, num_test=11, num_labels=2)
  return str(folder)


def test_every_config_has_a_case():
  assert set(FIELDS) == CONFIGS


@pytest.mark.parametrize("name", FIELDS)
def test_the_loss_falls(name, data_dir, tmp_path):
  config = importlib.import_module(f"configs.{name}").get_config()
  config.update_from_flattened_dict(FIELDS[name])
  result = train.train_and_evaluate(config, str(tmp_path), data_dir=data_dir)
  assert result["status"] == "finished"
  lines = files.read_lines(tmp_path)
  evaluated = train.evaluate(str(tmp_path), "latest", data_dir)
  runs = files.read_runs(tmp_path)
  for run, again in zip(runs, evaluated, strict=True):
    losses = [
      line["train_loss"]
      for line in lines
      if "train_loss" in line and line.get("run", "") == run["run"]
    ]
    assert losses[-1] < 0.9 * losses[0]
    final = run["final"]
    assert again["step"] == final["step"] == result["num_steps"]
    for metric, value in again.items():
      if metric != "run":
        assert final[metric] == value, metric
