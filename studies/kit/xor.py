"""Table 2 of Wen, Li and Ma (2023, arXiv 2307.11007), as grids.

A row is a network and a method, on examples of x1 x2; see configs/xor.py.
"""

from collections.abc import Mapping
import itertools
from typing import Any, NamedTuple

from configs import xor as workload
from studies.kit import grids

METRIC = "final_test_accuracy"
NUM_SNAPSHOTS = 20


class Part(NamedTuple):
  """A part of the name of a row: what it is called, and its fields."""

  words: str
  fields: Mapping[str, Any] = {}


_NO_BIAS = {"use_bias": False}
_BIAS = {"use_bias": True}
_SIM_BN = {**_BIAS, "normalization": "sim_bn"}
# Both as in the paper: from a hundredth of the first layer, or with its norm
# fixed.
_SIM_LN = {**_BIAS, "normalization": "sim_ln", "first_layer_scale": 0.01}
_ON_SPHERE = {**_BIAS, "normalization": "sim_ln", "first_layer_norm": 10.0}
_LOGISTIC = {"loss": "logistic", "label_smoothing": 0.2}
_BALL = {"dataset": "ball", "input_dim": 10}
_MORE = {"num_train": 200}
NETWORKS = {
  "no_bias": Part("without biases", _NO_BIAS),
  "bias": Part("with biases", _BIAS),
  "sim_bn": Part("Sim-BN", _SIM_BN),
  "sim_ln": Part("Sim-LN", _SIM_LN),
  "sim_ln_on_sphere": Part("Sim-LN on a sphere", _ON_SPHERE),
  "bias_200": Part("with biases, 200 examples", {**_BIAS, **_MORE}),
  "sim_bn_200": Part("Sim-BN, 200 examples", {**_SIM_BN, **_MORE}),
  "sim_ln_200": Part("Sim-LN, 200 examples", {**_SIM_LN, **_MORE}),
  "softplus": Part("softplus with biases", {**_BIAS, "activation": "softplus"}),
  "three_layers": Part(
    "three layers with biases", {"model": "mlp", "bias_layers": "first"}
  ),
  "ball_no_bias": Part("ball data, without biases", {**_NO_BIAS, **_BALL}),
  "ball_bias": Part("ball data, with biases", {**_BIAS, **_BALL}),
  "logistic_no_bias": Part(
    "logistic loss, without biases", {**_NO_BIAS, **_LOGISTIC}
  ),
  "logistic_bias": Part("logistic loss, with biases", {**_BIAS, **_LOGISTIC}),
  "logistic_sim_bn": Part("logistic loss, Sim-BN", {**_SIM_BN, **_LOGISTIC}),
  "logistic_sim_ln": Part("logistic loss, Sim-LN", {**_SIM_LN, **_LOGISTIC}),
}
_NOISE = {"step_label_noise": 0.5}
METHODS = {
  "decay": Part("weight decay"),
  "sam": Part("1-SAM"),
  "noise": Part("label-noise SGD", _NOISE),
  "sam_noise": Part("1-SAM on noisy targets", _NOISE),
}

# (learning rate, rho, epochs); rho = 0 is plain descent.
Stages = tuple[tuple[float, float, int], ...]


class Row(NamedTuple):
  """A row of Table 2.

  Attributes:
    figure: of the paper; '' if it is ours.
    paper: its stages.
    laptop: ours.
    batch_size: examples of a step; 100 are all.
    weight_decay: of the baselines.
  """

  figure: str
  paper: Stages
  laptop: Stages
  batch_size: int = 1
  weight_decay: float = 0.0


def _row(
  figure: str,
  rates: tuple[float, float],
  paper: int,
  laptop: int,
  batch_size: int = 1,
  weight_decay: float = 0.0,
) -> Row:
  """Returns a row of one stage, at the same learning rate and rho in both."""
  rate, rho = rates
  return Row(
    figure,
    ((rate, rho, paper),),
    ((rate, rho, laptop),),
    batch_size,
    weight_decay,
  )


E5 = 100_000
# What the claims compare: networks without normalization, and with it.
MAIN = {
  "no_bias-decay": _row("1a", (0.01, 0), E5, 20_000, 100, 0.05),
  "no_bias-sam": _row("1b", (0.01, 0.05), E5, 4000),
  "no_bias-noise": _row("", (0.01, 0), E5, 4000),
  "bias-decay": _row("4a", (0.01, 0), E5, 20_000, 100, 0.05),
  "bias-sam": Row(
    "4b",
    ((0.01, 0.05, 2 * E5), (0.01, 0.1, 4 * E5)),
    ((0.01, 0.05, 1500), (0.01, 0.1, 3000)),
  ),
  "bias-noise": _row("", (0.01, 0), E5, 4000),
  "bias-sam_noise": _row("", (0.01, 0.05), E5, 2000),
  "sim_bn-sam": Row(
    "2a", ((0.005, 0.1, E5), (0.003, 1, E5)), ((0.01, 0.2, 600),)
  ),
  "sim_bn-noise": _row("", (0.01, 0), E5, 1500),
  "sim_ln-sam": _row("6a", (0.1, 0.1), E5, 2000),
  "sim_ln-noise": _row("", (0.1, 0), E5, 2000),
  "sim_ln_on_sphere-sam": Row(
    "6b",
    ((0.01, 0.1, 500), (0.01, 0.5, 500), (0.01, 1, 500)),
    ((0.01, 0.1, 500), (0.01, 0.5, 500), (0.01, 1, 500)),
  ),
}
# The paper's other networks, losses and data.
OTHER = {
  "softplus-decay": _row("5a", (0.001, 0), E5, 3000, 1, 0.05),
  "softplus-sam": Row(
    "5b",
    ((0.0005, 0.05, E5), (0.001, 0.1, E5), (0.005, 1, 5000)),
    ((0.005, 0.2, 3000),),
  ),
  "ball_no_bias-sam": _row("7a", (0.01, 0.2), E5, 1000),
  "ball_bias-sam": _row("7b", (0.01, 0.2), E5, 1000),
  "logistic_no_bias-decay": _row("8a", (0.1, 0), E5, 1000, 10, 0.01),
  "logistic_no_bias-sam": _row("8b", (0.1, 0.2), E5, 500),
  "logistic_bias-decay": _row("9a", (0.01, 0), E5, 1000, 1, 0.05),
  "logistic_bias-sam": _row("9b", (0.1, 0.2), E5, 2000),
  "logistic_sim_bn-sam": _row("10a", (0.1, 0.2), 40_000, 400),
  "logistic_sim_ln-sam": Row(
    "10b", ((1, 0.5, 1000), (1, 1, E5)), ((1, 0.5, 100), (1, 1, 1000))
  ),
  # At 0.01, as with 100 examples, three of four seeds lose all neurons.
  "sim_bn_200-sam": _row("", (0.005, 0.2), E5, 400),
  "bias_200-sam": _row("", (0.01, 0.05), E5, 1500),
  "sim_ln_200-sam": _row("", (0.1, 0.1), E5, 1000),
  "three_layers-decay": _row("11a", (0.01, 0), E5, 1000, 1, 0.05),
  "three_layers-sam": _row("11b", (0.01, 0.05), E5, 1000),
}
ROWS = MAIN | OTHER


def _fields(name: str, row: Row, stages: Stages, width: int) -> grids.Fields:
  """Returns the fields of a row at some stages and width."""
  network, _, method = name.partition("-")
  fields = {**NETWORKS[network].fields, **METHODS[method].fields}
  rates, rhos, lengths = zip(*stages, strict=True)
  num_epochs = sum(lengths)
  ends = list(itertools.accumulate(lengths))
  period = num_epochs // NUM_SNAPSHOTS
  num_train = fields.get("num_train", workload.get_config().num_train)
  steps = period * num_train // row.batch_size
  num_layers = 2 if fields.get("model") == "mlp" else 1
  sam = {
    "rho": float(rhos[0]),
    "stage_rho_factors": tuple(rho / rhos[0] for rho in rhos[1:]),
  }
  return {
    **fields,
    **(sam if rhos[0] > 0 else {"optimizer": "sgd"}),
    "num_neurons": (width,) * num_layers,
    "batch_size": row.batch_size,
    "weight_decay": row.weight_decay,
    "learning_rate": float(rates[0]),
    "stage_starts": tuple(end / num_epochs for end in ends[:-1]),
    "stage_lr_factors": tuple(rate / rates[0] for rate in rates[1:]),
    "num_epochs": num_epochs,
    "eval_every_epochs": period,
    "snapshot_every_epochs": period,
    "log_every_steps": steps,
    "steps_per_call": min(steps, 10_000),
  }


def create(
  name: str, row: Row, stages: Stages, width: int, num_seeds: int
) -> grids.Grid:
  """Returns the grid of a row at some stages, width and number of seeds."""
  return grids.Grid(
    "xor",
    "final_test_loss" if name.startswith("ball") else METRIC,
    {name: _fields(name, row, stages, width)},
    {"seed": tuple(range(num_seeds))},
    {"data_seed": -1},
  )


def words(name: str) -> str:
  """Returns the name of a row in words."""
  network, _, method = name.partition("-")
  return f"{NETWORKS[network].words}, {METHODS[method].words}"
