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
    Each run is evaluated 20 times, which is too rare for the peak of Figure 4b
    after 4,000 of 600,000 epochs: that it falls cannot be seen here.
  laptop: width 100 and 400 to 20,000 epochs, 6 or 4 seeds; learning rates and
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

import math
from typing import Any

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import figures
from analysis import restored
from analysis import statistics
from data import xor as xor_data
from sharpness import measures
from studies.kit import findings
from studies.kit import panels
from studies.kit import xor
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study
from theory import flattest
from training import objectives as objectives_lib

GENERALIZES, FAILS = 95.0, 90.0  # Percent.
NEAR = 1.25  # Times the known minimum.
OURS = "not in the paper"
NORMALIZED = ("sim_bn", "sim_ln", "sim_ln_on_sphere")

presets = {
  "laptop": tuple(
    xor.create(name, row, row.laptop, 100, num_seeds)
    for rows, num_seeds in ((xor.MAIN, 6), (xor.OTHER, 4))
    for name, row in rows.items()
  ),
  "paper": tuple(
    xor.create(name, row, row.paper, 500, 3) for name, row in xor.ROWS.items()
  ),
}


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
    numbers["reach"] = flattest.reach(run.weights["params"], inputs)
  return numbers


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


class _Table:
  """The finished runs of the rows, by shape, and what is claimed of them."""

  def __init__(self, results: pd.DataFrame):
    runs = results[results["status"] == "finished"]
    # Which rows of other networks or data may lack.
    names = [*runs, xor.METRIC, "final_test_loss", "reach"]
    runs = runs.reindex(columns=list(dict.fromkeys(names)))
    # In percent, so that thresholds and claims speak of it as figures do.
    self._runs = runs.assign(accuracy=100 * runs[xor.METRIC])

  def of(self, shape: str) -> pd.DataFrame:
    return self._runs[self._runs["shape"] == shape]

  def accuracy(
    self, shape: str, generalizes: bool, why: str = ""
  ) -> findings.Finding:
    """Returns the finding that a row generalizes, or that it does not."""
    above, at_most = (
      (GENERALIZES, math.inf) if generalizes else (-math.inf, FAILS)
    )
    limit = f"above {above:g} %" if generalizes else f"at most {at_most:g} %"
    return findings.within(
      f"{why}{xor.words(shape)}: final test accuracy {limit}",
      xor.METRIC,
      _figure_of(shape),
      statistics.mean(
        self.of(shape),
        "accuracy",
        "mean test accuracy in %, over seeds",
        step=100 / xor_data.NUM_TEST,
      ),
      above=above,
      at_most=at_most,
    )

  def near(self, shape: str) -> findings.Finding:
    """Returns the finding that the trace is near the least that is known."""
    least = known_minimum(shape)
    runs = self.of(shape)
    paper = _figure_of(shape)
    return findings.within(
      f"{xor.words(shape)}: trace at most {NEAR:g} times the flattest known",
      "trace",
      OURS if paper == OURS else f"{paper}: approached",
      statistics.mean(
        runs.assign(ratio=runs["trace"] / least),
        "ratio",
        f"mean of the trace over {least:.4g}, over seeds",
      ),
      at_most=NEAR,
    )

  def lower(
    self, text: str, column: str, paper: str, one: str, other: str
  ) -> findings.Finding:
    """Returns the finding that a column of a row is below that of another."""
    low, high = (
      runs.assign(log=np.log(runs[column]))
      for runs in (self.of(one), self.of(other))
    )
    statistic = f"difference of log {column}, paired over seeds"
    gap = statistics.difference(low, high, "log", statistic)
    return findings.negative(text, column, paper, gap)

  def flatter(self, network: str, method: str = "sam") -> findings.Finding:
    """Returns the finding that a method is flatter than weight decay."""
    one, other = f"{network}-{method}", f"{network}-decay"
    text = f"{xor.words(one)}: flatter than weight decay"
    return self.lower(text, "trace", _figure_of(one), one, other)

  def more_accurate(self, text: str, one: str, other: str) -> findings.Finding:
    """Returns the finding that a row has a higher test accuracy."""
    gap = statistics.difference(
      self.of(one),
      self.of(other),
      "accuracy",
      "difference of test accuracies in points, paired over seeds",
    )
    return findings.positive(text, xor.METRIC, OURS, gap)

  def falls(self, shape: str) -> findings.Finding:
    """Returns the finding that accuracy falls after it has peaked early."""

    def fall(scores: list[float]) -> float:
      n = max(len(scores) // 4, 1)
      return 100 * (max(scores[-n:]) - max(scores[:n]))

    runs = self.of(shape)
    gap = statistics.mean(
      runs.assign(gap=runs["scores"].map(fall)),
      "gap",
      "highest test accuracy of the last quarter minus that of the first, in"
      " points, over seeds",
    )
    return findings.negative(
      f"{xor.words(shape)}: test accuracy falls after the first quarter",
      xor.METRIC,
      _figure_of(shape),
      gap,
    )


def _figure_of(shape: str) -> str:
  figure = xor.ROWS[shape].figure
  return f"Figure {figure}" if figure else OURS


def claims(results: pd.DataFrame) -> list[findings.Finding]:
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
    table.accuracy("bias-sam_noise", False, "why: "),
    table.lower(
      "why: with biases, neurons of 1-SAM are on for fewer examples than those"
      " of label-noise SGD",
      "reach",
      OURS,
      "bias-sam",
      "bias-noise",
    ),
    table.accuracy("bias_200-sam", False, "why: "),
    table.accuracy("sim_bn_200-sam", True, "why: "),
    table.accuracy("sim_ln_200-sam", True, "why: "),
    *(
      finding
      for network in ("softplus", "three_layers", "logistic_bias")
      for finding in (
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


_COLORS = {"decay": figures.BASE, "sam": figures.SAM, "noise": "#0072B2"}
# Of each panel its rows, by what the legend calls them, and their colours.
PANELS = {
  **{
    xor.NETWORKS[network].words: {
      xor.METHODS[method].words: (f"{network}-{method}", color)
      for method, color in _COLORS.items()
    }
    for network in ("no_bias", "bias")
  },
  "1-SAM with normalization": {
    xor.NETWORKS[network].words: (f"{network}-sam", color)
    for network, color in zip(NORMALIZED, figures.CATEGORIES[2:5], strict=True)
  },
}


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  runs = results[results["status"] == "finished"]
  return panels.figure(
    *(
      Panel(title, _draw_traces, (runs, rows)) for title, rows in PANELS.items()
    ),
    *(Panel("", _draw_scores, (runs, rows)) for rows in PANELS.values()),
  )


def _draw_traces(
  ax: Axes, runs: pd.DataFrame, rows: dict[str, tuple[str, Any]]
) -> None:
  """Draws traces of the Hessian, and the least that are known."""
  _draw(ax, runs, rows, "traces")
  least = {known_minimum(shape) for shape, _ in rows.values()}
  text = " and ".join(f"{value:.4g}" for value in sorted(least))
  for i, value in enumerate(least):
    ax.axhline(
      value,
      color=figures.PAPER,
      linestyle="--",
      linewidth=1.2,
      label="" if i else f"flattest: {text}",
      zorder=1,
    )
  figures.log_y_axis(ax, (2, 3, 5, 8, 10, 20, 30, 50, 100, 150))
  ax.set_ylabel("trace of the Hessian")


def _draw_scores(
  ax: Axes, runs: pd.DataFrame, rows: dict[str, tuple[str, Any]]
) -> None:
  _draw(ax, runs, rows, "scores", scale=100)
  ax.set_ylim(45, 102)
  ax.set_ylabel("test accuracy (%)")


def _draw(
  ax: Axes,
  runs: pd.DataFrame,
  rows: dict[str, tuple[str, Any]],
  column: str,
  scale: float = 1,
) -> None:
  """Draws what rows have over training: means, and errors over seeds."""
  for label, (shape, color) in rows.items():
    chosen = runs[runs["shape"] == shape]
    if len(chosen):
      values = pd.DataFrame(chosen[column].tolist()) * scale
      x = chosen["progress"].iloc[0]
      figures.curve(ax, x, values.mean(), values.sem(), label, color)
  ax.set_xlabel("share of training (%)")


STUDY = Study(
  paper="Wen et al. (2023), Figures 1 to 11, Table 1",
  claim=(
    "the flattest networks may memorize, and SAM may generalize for another"
    " reason than that it finds them"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    (
      "progress",
      "traces",
      "scores",
      "trace",
      "hessian_trace",
      "hessian_trace_stderr",
      "training_loss",
    ),
    seconds=0.25,
  ),
)
