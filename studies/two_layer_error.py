"""Test error of a wide network: Shin et al. (UAI 2025), Appendix I, Figure 22.

Claim: the test error of a two-layer network, of which SAM trains the first
layer, falls with its width (Theorem I.1: a width of order 1 / epsilon suffices
for an error of epsilon). Metric: squared error of the final epoch on the test
set, with learning rate and rho chosen for each width; SGD, with a learning rate
of its own, stands beside it.

  laptop: widths 100, 500, 1,000 and 5,000; NUM_EPOCHS epochs on 800 examples;
    learning rates c / width, since the curvature grows with the width; 5 seeds;
    chosen by a validation split of 200.
  paper: widths up to 50,000, 800 epochs on 1,000 examples, learning rates 1e-2
    to 1e-7 and rho 1e-1 to 1e-5, 3 seeds; chosen on the test set.

The paper says neither what its test error is nor how it chooses from its grids.
The variance of the targets is about 30.
"""

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import statistics
from studies.kit import conditions
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit.panels import Panel
from studies.kit.study import Study

CLAIM = "the test error of the two-layer network falls with its width"
TITLE = "two-layer network"
WORKLOAD = "two_layer_trigonometric"
WIDTH = "width"
METRIC = "final_test_loss"
# Epochs on a laptop, and its learning rates times the width.
NUM_EPOCHS = 400
RATES = (1.5, 3.0, 6.0)


def _grid(
  width: int, learning_rates: tuple[float, ...], num_seeds: int
) -> grids.Grid:
  return grids.Grid(
    WORKLOAD,
    METRIC,
    {f"width{width}": {"num_neurons": (width,)}},
    {"learning_rate": learning_rates, "seed": tuple(range(num_seeds))},
  )


def _small(width: int) -> grids.Grid:
  rates = tuple(float(f"{c / width:.3g}") for c in RATES)
  return _grid(width, rates, 5).change(
    sweep={"rho": (0.0, 1e-3, 1e-2)},
    fields={
      "data_seed": -1,
      "validation_fraction": 0.2,
      "num_epochs": NUM_EPOCHS,
      "eval_every_epochs": NUM_EPOCHS,
    },
  )


presets = {
  "laptop": tuple(_small(width) for width in (100, 500, 1000, 5000)),
  "paper": tuple(
    _grid(width, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7), 3).change(
      sweep={"rho": (0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)}
    )
    for width in (100, 500, 1000, 5000, 10_000, 50_000)
  ),
}


def _gains(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the gain of SAM, each side at its best settings of each width.

  Those of SGD are its learning rate; those of SAM, the pair of learning rate
  and rho.
  """
  runs = results.assign(width=results["num_neurons"].astype(int))
  return conditions.gains(runs, [WIDTH], METRIC, ("learning_rate", "rho"))


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  gains = _gains(results)
  unknown = "not reported"
  return [
    *(
      findings.negative(
        f"{TITLE}, {name}: {CLAIM}",
        METRIC,
        paper,
        statistics.slope(
          gains.rename(columns={side: "test_loss"}), WIDTH, "test_loss"
        ),
      )
      for name, side, paper in (
        ("SAM", "sam", _quote()),
        ("SGD", "base", unknown),
      )
    ),
    findings.positive(
      f"{TITLE}: SAM's test error is lower than SGD's, on average over widths",
      METRIC,
      unknown,
      statistics.mean_gain(gains),
    ),
    findings.grows(TITLE, METRIC, unknown, gains, WIDTH),
  ]


def _paper() -> pd.DataFrame:
  table = reference.load("22", WORKLOAD)
  return table.assign(width=table["size"].astype(int), mean=table["value"])


def _quote() -> str:
  values = ", ".join(f"{x:g}" for x in _paper()["value"])
  widths = ", ".join(map(captions.number, _paper()[WIDTH]))
  return f"Figure 22: test error {values} at widths {widths}"


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  gains = _gains(results)
  summary = statistics.summary(gains, [WIDTH])

  def draw_errors(ax: Axes) -> None:
    curves.pair(ax, summary, METRIC, x=WIDTH)
    curves.paper(ax, _paper(), x=WIDTH, label="SAM, paper")
    ax.set_ylabel("test error (squared)")
    ax.set_ylim(bottom=0)

  return panels.figure(
    Panel(TITLE, draw_errors),
    Panel("what SAM gains", curves.gains, (summary, METRIC, WIDTH)),
  )


STUDY = Study(
  paper="Figure 22",
  claim=CLAIM,
  presets=presets,
  claims=claims,
  figure=figure,
)
