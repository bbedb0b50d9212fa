"""Flat minima that generalize, and flat ones that do not.

Wen, Li and Ma (2023, arXiv 2307.11007), Figures 1 to 11 and Table 2. On 100
examples of x1 x2 in 30 dimensions, 1-SAM (batch size 1) goes to the flattest
interpolating two-layer networks. Claims:

  without biases, with Sim-BN and with Sim-LN it generalizes;
  with biases in the first layer it becomes flatter than gradient descent with
    weight decay, and does not generalize, since memorizing is as flat;
  where the flattest trace is known, it is approached;
  label-noise SGD, which the paper cites for the same bias, does alike.

"Generalizes" is a final test accuracy above 95 %, "does not" one of at most
90 %; "approached" a trace of at most 1.25 times the known one. The trace is
that of the Gauss-Newton matrix over the training set, exactly, averaged over
the last quarter of training. At interpolation it is that of the Hessian (Lemma
4.1), and everywhere for ReLU without normalization. There are 10,000 test
examples; the paper does not state their number.

  paper: width 500 and every row of Table 2, 1,500 to 600,000 epochs; 3 seeds.
  laptop: width 100 and 200 to 20,000 epochs, 6 or 4 seeds; learning rates and
    rho are the paper's but for Sim-BN, where its rho of 1 switches off all of
    100 neurons, and softplus, where its learning rates are small for so short
    a training.

Every seed draws its own data. The paper does not state its initial weights;
here they are Flax's. Beyond the paper are label-noise SGD (noise 0.5), two
looks at why it generalizes with biases where 1-SAM does not (1-SAM on noisy
targets, and on how many training examples neurons are on), and 200 training
examples, since 100 are few for some draws: normalized networks should then
generalize, and those with biases still not.
"""

from collections.abc import Mapping
import dataclasses
import itertools
from typing import Any

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import figures
from analysis import restored
from analysis import statistics
from configs import xor
from sharpness import measures
from studies.kit import cells as cells_lib
from studies.kit import findings
from studies.kit import grids
from theory import flattest
from training import objectives as objectives_lib

PAPER = "Wen et al. (2023), Figures 1 to 11, Table 1"
CLAIM = (
  "the flattest networks may memorize, and SAM may generalize for another"
  " reason than that it finds them"
)
MEASURE_SECONDS = 1.0
METRIC = "final_test_accuracy"
GENERALIZES, FAILS = 95.0, 90.0  # Percent.
NEAR = 1.25  # Times the known minimum.
NUM_SNAPSHOTS = 20

NO_BIAS = {"use_bias": False}
BIAS = {"use_bias": True}
SIM_BN = {**BIAS, "normalization": "sim_bn"}
# Both as in the paper: from a hundredth of the first layer, or with its norm
# fixed.
SIM_LN = {**BIAS, "normalization": "sim_ln", "first_layer_scale": 0.01}
ON_SPHERE = {**BIAS, "normalization": "sim_ln", "first_layer_norm": 10.0}
SOFTPLUS = {**BIAS, "activation": "softplus"}
THREE_LAYERS = {"model": "mlp", "bias_layers": "first"}
LOGISTIC = {"loss": "logistic", "label_smoothing": 0.2}
BALL = {"dataset": "ball", "input_dim": 10}
NOISE = {"step_label_noise": 0.5}
MORE = {"num_train": 200}

# (learning rate, rho, epochs); rho = 0 is plain descent.
Stages = tuple[tuple[float, float, int], ...]


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of Table 2.

  Attributes:
    figure: of the paper; '' if it is ours.
    fields: what differs from configs/xor.py, but for width and length.
    paper: its stages.
    laptop: ours.
    batch_size: examples of a step; 100 are all.
    weight_decay: of the baselines.
  """

  figure: str
  fields: Mapping[str, Any]
  paper: Stages
  laptop: Stages
  batch_size: int = 1
  weight_decay: float = 0.0


def _row(
  figure: str,
  fields: Mapping[str, Any],
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
    fields,
    ((rate, rho, paper),),
    ((rate, rho, laptop),),
    batch_size,
    weight_decay,
  )


E5 = 100_000
# What the claims compare: networks without normalization, and with it.
MAIN = {
  "no_bias-decay": _row("1a", NO_BIAS, (0.01, 0), E5, 20_000, 100, 0.05),
  "no_bias-sam": _row("1b", NO_BIAS, (0.01, 0.05), E5, 4000),
  "no_bias-noise": _row("", {**NO_BIAS, **NOISE}, (0.01, 0), E5, 4000),
  "bias-decay": _row("4a", BIAS, (0.01, 0), E5, 20_000, 100, 0.05),
  "bias-sam": Row(
    "4b",
    BIAS,
    ((0.01, 0.05, 2 * E5), (0.01, 0.1, 4 * E5)),
    ((0.01, 0.05, 1500), (0.01, 0.1, 3000)),
  ),
  "bias-noise": _row("", {**BIAS, **NOISE}, (0.01, 0), E5, 4000),
  "bias-sam_noise": _row("", {**BIAS, **NOISE}, (0.01, 0.05), E5, 2000),
  "sim_bn-sam": Row(
    "2a",
    SIM_BN,
    ((0.005, 0.1, E5), (0.003, 1, E5)),
    ((0.01, 0.2, 600),),
  ),
  "sim_bn-noise": _row("", {**SIM_BN, **NOISE}, (0.01, 0), E5, 1500),
  "sim_ln-sam": _row("6a", SIM_LN, (0.1, 0.1), E5, 2000),
  "sim_ln-noise": _row("", {**SIM_LN, **NOISE}, (0.1, 0), E5, 2000),
  "sim_ln_on_sphere-sam": Row(
    "6b",
    ON_SPHERE,
    ((0.01, 0.1, 500), (0.01, 0.5, 500), (0.01, 1, 500)),
    ((0.01, 0.1, 500), (0.01, 0.5, 500), (0.01, 1, 500)),
  ),
}
# The paper's other networks, losses and data.
OTHER = {
  "softplus-decay": _row("5a", SOFTPLUS, (0.001, 0), E5, 3000, 1, 0.05),
  "softplus-sam": Row(
    "5b",
    SOFTPLUS,
    ((0.0005, 0.05, E5), (0.001, 0.1, E5), (0.005, 1, 5000)),
    ((0.005, 0.2, 3000),),
  ),
  "ball_no_bias-sam": _row("7a", {**NO_BIAS, **BALL}, (0.01, 0.2), E5, 1000),
  "ball_bias-sam": _row("7b", {**BIAS, **BALL}, (0.01, 0.2), E5, 1000),
  "logistic_no_bias-decay": _row(
    "8a", {**NO_BIAS, **LOGISTIC}, (0.1, 0), E5, 1000, 10, 0.01
  ),
  "logistic_no_bias-sam": _row(
    "8b", {**NO_BIAS, **LOGISTIC}, (0.1, 0.2), E5, 500
  ),
  "logistic_bias-decay": _row(
    "9a", {**BIAS, **LOGISTIC}, (0.01, 0), E5, 1000, 1, 0.05
  ),
  "logistic_bias-sam": _row("9b", {**BIAS, **LOGISTIC}, (0.1, 0.2), E5, 2000),
  "logistic_sim_bn-sam": _row(
    "10a", {**SIM_BN, **LOGISTIC}, (0.1, 0.2), 40_000, 400
  ),
  "logistic_sim_ln-sam": Row(
    "10b",
    {**SIM_LN, **LOGISTIC},
    ((1, 0.5, 1000), (1, 1, E5)),
    ((1, 0.5, 100), (1, 1, 1000)),
  ),
  # At 0.01, as with 100 examples, three of four seeds lose all neurons.
  "sim_bn_200-sam": _row("", {**SIM_BN, **MORE}, (0.005, 0.2), E5, 400),
  "bias_200-sam": _row("", {**BIAS, **MORE}, (0.01, 0.05), E5, 1500),
  "sim_ln_200-sam": _row("", {**SIM_LN, **MORE}, (0.1, 0.1), E5, 1000),
  "three_layers-decay": _row("11a", THREE_LAYERS, (0.01, 0), E5, 1000, 1, 0.05),
  "three_layers-sam": _row("11b", THREE_LAYERS, (0.01, 0.05), E5, 1000),
}


def _shape(row: Row, stages: Stages, width: int) -> grids.Fields:
  """Returns the fields of a row at some stages and width."""
  rates, rhos, lengths = zip(*stages, strict=True)
  num_epochs = sum(lengths)
  ends = list(itertools.accumulate(lengths))
  period = num_epochs // NUM_SNAPSHOTS
  num_train = row.fields.get("num_train", xor.get_config().num_train)
  steps = period * num_train // row.batch_size
  is_sam = rhos[0] > 0
  num_layers = 2 if row.fields.get("model") == "mlp" else 1
  sam = {
    "rho": float(rhos[0]),
    "stage_rho_factors": tuple(rho / rhos[0] for rho in rhos[1:]),
  }
  return {
    **row.fields,
    **(sam if is_sam else {"optimizer": "sgd"}),
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


def _grids(
  rows: Mapping[str, Row], preset: str, width: int, num_seeds: int
) -> tuple[grids.Grid, ...]:
  return tuple(
    grids.Grid(
      "xor",
      METRIC if row.fields.get("dataset") != "ball" else "final_test_loss",
      {name: _shape(row, getattr(row, preset), width)},
      {"seed": tuple(range(num_seeds))},
      {"data_seed": -1},
    )
    for name, row in rows.items()
  )


presets = {
  "laptop": _grids(MAIN, "laptop", 100, 6) + _grids(OTHER, "laptop", 100, 4),
  "paper": _grids(MAIN | OTHER, "paper", 500, 3),
}


def cells(preset: str) -> list[cells_lib.Cell]:
  return grids.cells(presets[preset])


def known_minimum(shape: str, num_inputs: int = 30) -> float:
  """Returns the least trace of the network of a row with a squared error."""
  point = np.ones((1, num_inputs)), np.ones(1)
  network = shape.partition("-")[0]
  return {
    "no_bias": flattest.minimum_without_bias(*point),
    "bias": flattest.minimum_with_bias(*point),
    "sim_bn": flattest.INFIMUM_SIM_BN,
    "sim_ln": flattest.MINIMUM_SIM_LN,
    "sim_ln_on_sphere": flattest.MINIMUM_SIM_LN,
  }[network]


def reach(params: Any, inputs_Nxd: np.ndarray) -> float:
  """Returns on how many training examples a ReLU is on, as a share.

  Neurons count by what they add to the outputs in absolute value. The share is
  1/4 in a network of the four quarters of x1 x2, and 1/n in a memorizing one.
  """
  first = {name: np.asarray(w) for name, w in params["first"].items()}
  readout = np.asarray(params["second"]["kernel"])[:, 0]
  before_NxM = inputs_Nxd @ first["kernel"] + first.get("bias", 0)
  hidden_NxM = np.maximum(before_NxM, 0)
  size_M = hidden_NxM.mean(0) * np.abs(readout)
  return float((hidden_NxM > 0).mean(0) @ size_M / size_M.sum())


def measure(run: restored.Run) -> dict[str, Any]:
  snapshots = run.snapshots()[1:]
  objectives = [snapshot.objective() for snapshot in snapshots]
  traces = [float(o.ggn_trace(o.weights)) for o in objectives]
  score = "test_loss" if run.config.dataset == "ball" else "test_accuracy"
  scores = {x["step"]: x[score] for x in run.lines() if score in x}
  last = objectives[-1]
  hessian = measures.trace_of_h(objectives_lib.point(run.config, last))
  numbers = {
    "progress": [100 * s.step / run.step for s in snapshots],
    "traces": traces,
    "scores": [scores[s.step] for s in snapshots],
    "trace": float(np.mean(traces[-(len(traces) // 4) :])),
    "hessian_trace": hessian["trace"],
    "hessian_trace_stderr": hessian["trace_stderr"],
    "training_loss": float(last.value(last.weights)),
  }
  c = run.config
  if c.model == "two_layer" and c.normalization == "none":
    inputs = np.concatenate([batch["inputs"] for batch in last.batches])
    numbers["reach"] = reach(run.weights["params"], inputs)
  return numbers


NETWORKS = {
  "no_bias": "without biases",
  "bias": "with biases",
  "sim_bn": "Sim-BN",
  "sim_ln": "Sim-LN",
  "sim_ln_on_sphere": "Sim-LN on a sphere",
  "bias_200": "with biases, 200 examples",
  "sim_bn_200": "Sim-BN, 200 examples",
  "sim_ln_200": "Sim-LN, 200 examples",
  "softplus": "softplus with biases",
  "three_layers": "three layers with biases",
  "logistic_no_bias": "logistic loss, without biases",
  "logistic_bias": "logistic loss, with biases",
  "logistic_sim_bn": "logistic loss, Sim-BN",
  "logistic_sim_ln": "logistic loss, Sim-LN",
}
METHODS = {
  "decay": "weight decay",
  "sam": "1-SAM",
  "noise": "label-noise SGD",
  "sam_noise": "1-SAM on noisy targets",
}
OURS = "not in the paper"


def _words(shape: str) -> str:
  network, _, method = shape.partition("-")
  return f"{NETWORKS[network]}, {METHODS[method]}"


def _figure_of(shape: str) -> str:
  figure = (MAIN | OTHER)[shape].figure
  return f"Figure {figure}" if figure else OURS


class _Table:
  """The finished runs of the rows, by shape."""

  def __init__(self, results: pd.DataFrame):
    runs = results[results["status"] == "finished"]
    # In percent, so that thresholds and claims speak of it as figures do.
    self._runs = runs.assign(accuracy=100 * runs[METRIC])

  def of(self, shape: str) -> pd.DataFrame:
    return self._runs[self._runs["shape"] == shape]

  def accuracy(self, shape: str, generalizes: bool) -> findings.Record:
    """Returns the claim that a row generalizes, or that it does not."""
    mean = statistics.mean(
      self.of(shape), "accuracy", "mean test accuracy in %, over seeds"
    )
    if generalizes:
      text = f"above {GENERALIZES:g} %"
      verdict = statistics.verdict(mean, above=GENERALIZES)
    else:
      text = f"at most {FAILS:g} %"
      verdict = statistics.verdict(mean, at_most=FAILS)
    return statistics.claim_record(
      f"{_words(shape)}: final test accuracy {text}",
      METRIC,
      _figure_of(shape),
      mean,
      verdict,
    )

  def near(self, shape: str) -> findings.Record:
    """Returns the claim that the trace is near the least that is known."""
    least = known_minimum(shape)
    runs = self.of(shape)
    ratio = statistics.mean(
      runs.assign(ratio=runs["trace"] / least),
      "ratio",
      f"mean of the trace over {least:.4g}, over seeds",
    )
    paper = f"{_figure_of(shape)}: approached"
    return statistics.claim_record(
      f"{_words(shape)}: trace at most {NEAR:g} times the flattest known",
      "trace",
      OURS if _figure_of(shape) == OURS else paper,
      ratio,
      statistics.verdict(ratio, at_most=NEAR),
    )

  def lower(
    self, text: str, column: str, paper: str, one: str, other: str
  ) -> findings.Record:
    """Returns the claim that a column of one row is below that of another."""
    statistic = f"difference of log {column}, paired over seeds"
    low, high = (
      runs.assign(log=np.log(runs[column]))
      for runs in (self.of(one), self.of(other))
    )
    gap = statistics.difference(low, high, "log", statistic)
    return findings.negative(text, column, paper, gap)

  def more_accurate(self, text: str, one: str, other: str) -> findings.Record:
    """Returns the claim that a row has a higher test accuracy than another."""
    gap = statistics.difference(
      self.of(one),
      self.of(other),
      "accuracy",
      "difference of test accuracies in points, paired over seeds",
    )
    return findings.positive(text, METRIC, OURS, gap)

  def flatter(self, network: str, method: str = "sam") -> findings.Record:
    one, other = f"{network}-{method}", f"{network}-decay"
    return self.lower(
      f"{_words(one)}: flatter than weight decay",
      "trace",
      _figure_of(one),
      one,
      other,
    )

  def falls(self, shape: str) -> findings.Record:
    """Returns the claim that test accuracy falls after it has peaked early."""
    runs = self.of(shape)
    scores = np.array(runs["scores"].tolist())
    early = scores[:, : scores.shape[1] // 4].max(1)
    gap = statistics.mean(
      runs.assign(gap=100 * (scores[:, -1] - early)),
      "gap",
      "final test accuracy minus the highest of the first quarter, in points,"
      " over seeds",
    )
    return findings.negative(
      f"{_words(shape)}: test accuracy falls after the first quarter",
      METRIC,
      _figure_of(shape),
      gap,
    )


def _why(record: findings.Record) -> findings.Record:
  return record | {"claim": f"why: {record['claim']}"}


def claim(results: pd.DataFrame) -> list[findings.Record]:
  table = _Table(results)
  main = ("no_bias", "bias", *NORMALIZED)
  noisy = ("no_bias", "bias", "sim_bn", "sim_ln")
  return [
    table.accuracy("no_bias-sam", True),
    table.accuracy("bias-sam", False),
    table.flatter("bias"),
    table.falls("bias-sam"),
    *(table.accuracy(f"{network}-sam", True) for network in NORMALIZED),
    *(table.near(f"{network}-sam") for network in main),
    *(
      table.accuracy(f"{network}-noise", network != "bias") for network in noisy
    ),
    *(table.near(f"{network}-noise") for network in noisy),
    table.flatter("bias", "noise"),
    table.more_accurate(
      "with biases, label-noise SGD has a higher test accuracy than 1-SAM",
      "bias-noise",
      "bias-sam",
    ),
    _why(table.accuracy("bias-sam_noise", False)),
    table.lower(
      "why: with biases, neurons of 1-SAM are on for fewer examples than those"
      " of label-noise SGD",
      "reach",
      OURS,
      "bias-sam",
      "bias-noise",
    ),
    _why(table.accuracy("bias_200-sam", False)),
    _why(table.accuracy("sim_bn_200-sam", True)),
    _why(table.accuracy("sim_ln_200-sam", True)),
    *(
      record
      for network in ("softplus", "three_layers", "logistic_bias")
      for record in (
        table.flatter(network),
        table.accuracy(f"{network}-sam", False),
      )
    ),
    *(
      table.accuracy(f"logistic_{network}-sam", True)
      for network in ("no_bias", "sim_bn", "sim_ln")
    ),
    table.lower(
      "ball data: without biases 1-SAM has a lower test error than with them",
      "final_test_loss",
      "Figure 7",
      "ball_no_bias-sam",
      "ball_bias-sam",
    ),
    *(
      table.accuracy(f"{network}-decay", True)
      for network in ("no_bias", "bias")
    ),
  ]


COLORS = {"decay": figures.BASE, "sam": figures.SAM, "noise": "#0072B2"}
NORMALIZED = ("sim_bn", "sim_ln", "sim_ln_on_sphere")
# Of each scenario its rows, by what the legend calls them, and their colours.
SCENARIOS = {
  "without biases": {
    METHODS[method]: (f"no_bias-{method}", color)
    for method, color in COLORS.items()
  },
  "with biases": {
    METHODS[method]: (f"bias-{method}", color)
    for method, color in COLORS.items()
  },
  "1-SAM with normalization": {
    NETWORKS[network]: (f"{network}-sam", color)
    for network, color in zip(NORMALIZED, figures.CATEGORIES[2:5], strict=True)
  },
}


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  runs = results[results["status"] == "finished"]
  fig, axes = figures.create(2 * len(SCENARIOS), list(SCENARIOS))
  traces, scores = axes[: len(SCENARIOS)], axes[len(SCENARIOS) :]
  for rows, above, below in zip(
    SCENARIOS.values(), traces, scores, strict=True
  ):
    for label, (shape, color) in rows.items():
      chosen = runs[runs["shape"] == shape]
      _draw(above, chosen, "traces", label, color)
      _draw(below, chosen, "scores", label, color)
    least = {known_minimum(shape) for shape, _ in rows.values()}
    text = " and ".join(f"{value:.4g}" for value in sorted(least))
    for i, value in enumerate(least):
      above.axhline(
        value,
        color=figures.PAPER,
        linestyle="--",
        linewidth=1.2,
        label="" if i else f"flattest: {text}",
        zorder=1,
      )
    figures.log_y_axis(above, (2, 3, 5, 8, 10, 20, 30, 50, 100, 150))
    above.set_ylabel("trace of the Hessian")
    below.set_ylim(45, 102)
    below.set_ylabel("test accuracy (%)")
    for ax in (above, below):
      ax.set_xlabel("share of training (%)")
      figures.legend(ax)
  return fig


def _draw(
  ax: Axes, runs: pd.DataFrame, column: str, label: str, color: Any
) -> None:
  """Draws what a row has over training: means, and errors over seeds."""
  if runs.empty:
    return
  scale = 100 if column == "scores" else 1
  values = pd.DataFrame(runs[column].tolist()) * scale
  x = runs["progress"].iloc[0]
  figures.curve(ax, x, values.mean(), values.sem(), label, color)
