"""Convergence: Shin et al. (UAI 2025), Section 6, Figure 6c, Theorem 6.6.

Claim: with SAM, whose perturbation is not normalized, an overparameterized
model converges at a linear rate, and the faster the larger it is: the logarithm
of the training loss falls along a line. Metric: the loss on the whole training
set, at snapshots. The rate is the slope of the line through the initial loss
that fits log2 of the loss best over all epochs, in halvings an epoch. How
straight it is has two measures: the fall in the second half of the epochs over
that in the first, 1 for a line and 0.17 for a decay like 1/epoch to a hundredth
of the initial loss, called a line above `STRAIGHT`; and, after the first fifth,
by how much R^2 of a line exceeds that of a power of the epoch.

  laptop: matrix factorization of rank 4 and 10; MLPs [w, w], w = 16, 64, 256,
    on digits (cross-entropy, 100 epochs) and on 72 digits with the squared
    error, where all have more weights than the 720 targets; 10 seeds.
  paper: the same factorization; MLPs on MNIST (20 epochs) and ResNet-18, 4, 16
    and 64 filters, on CIFAR-10 (80 epochs, without augmentation, statistics of
    the batch); 5 seeds.
  desktop: of the paper's, MNIST, the largest of its MLPs with 3 seeds.

Learning rates are constant, without momentum and weight decay, as in the
theorem. The paper states neither rho, batch and matrix of the factorization,
whose loss begins at 0.2 there and at 20 here, nor the settings of the networks.

A matrix of rank 6 has no factors of rank 4: that loss has a floor, the sum of
the two smallest squared singular values of the targets, over their number.
Rates are those of the loss itself unless they say 'above its floor'.

The factorization has a rho that the theorem allows, so small that SAM is nearly
SGD; a larger one is compared with SGD. The bound is that of mini-batches
(Theorem H.3), from constants at snapshots: the largest smoothness, of the loss
and of any example, and the smallest ||grad f||^2 / f. Its proof allows learning
rates up to 2 eta*, and is drawn for that of the run.
"""

from typing import Any

from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
import numpy as np
import pandas as pd

from analysis import captions
from analysis import curves
from analysis import figures
from analysis import restored
from analysis import statistics
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE
from studies.kit.panels import Panel
from studies.kit.study import Measure
from studies.kit.study import Study
from theory import rates

METRIC = "train_loss"
STRAIGHT = 0.5
FACTORIZATION = "matrix_factorization"
TITLE = workloads.TABLE[FACTORIZATION].title
# Theorem 6.6 allows at most 2e-5 or so; with batches, 2e-4.
RHO = 1e-5
LARGE_RHO = 0.01
# Of 1,437 digits, those that are not held out.
NUM_FEW = 72
FEW_BATCH = 24
FEW = {
  "squared_error": f"MLP on {NUM_FEW} digits, squared error",
  "cross_entropy": f"MLP on {NUM_FEW} digits, cross-entropy",
}


def _plain(
  grid: grids.Grid, num_seeds: int, fields: grids.Fields
) -> grids.Grid:
  """Returns the grid as the theorem has it, with 20 snapshots."""
  every = fields["num_epochs"] // 20
  return grid.change(
    metric=METRIC,
    sweep={
      "label_noise": (),
      "rho": (0.0, 0.1),
      "seed": tuple(range(num_seeds)),
    },
    fields={
      "perturbation": "unnormalized",
      "lr_scheduler": "constant",
      "momentum": 0.0,
      "weight_decay": 0.0,
      "snapshot_every_epochs": every,
      "eval_every_epochs": 5 * every,
      **fields,
    },
  )


_FACTORIZATION = grids.Grid(
  FACTORIZATION,
  METRIC,
  {f"rank{k}": {"num_neurons": (k,)} for k in (4, 10)},
  {"rho": (0.0, RHO, LARGE_RHO), "seed": tuple(range(10))},
  {"data_seed": -1, "eval_every_epochs": 25, "snapshot_every_epochs": 1},
)
_WIDTHS = grids.DIGITS_MLP.change(shapes=grids.widths(16, 64, 256))


def _few(loss: str, learning_rate: float, *widths: int) -> grids.Grid:
  """Returns the grid of so few digits that all sizes are overparameterized."""
  return _plain(
    _WIDTHS.change(shapes=grids.widths(*widths), suffix=f"-few-{loss}"),
    10,
    {
      "num_epochs": 300,
      "validation_fraction": 0.95,
      "batch_size": FEW_BATCH,
      "loss": loss,
      "learning_rate": learning_rate,
    },
  )


def _mnist(num_seeds: int, *neurons: tuple[int, ...]) -> grids.Grid:
  grid = grids.MNIST_MLP.change(shapes=grids.mlps(*neurons))
  return _plain(grid, num_seeds, {"num_epochs": 20})


presets = {
  "laptop": (
    _FACTORIZATION,
    _plain(_WIDTHS, 10, {"num_epochs": 100}),
    _few("squared_error", 0.05, 16, 64, 256),
    _few("cross_entropy", 0.1, 256),
  ),
  "paper": (
    _FACTORIZATION,
    _mnist(5, (30, 10), (300, 100), (3000, 1000)),
    _plain(
      grids.CIFAR_RESNET.change(shapes=grids.resnets(4, 16, 64)),
      5,
      {"num_epochs": 80, "augment": False},
    ),
  ),
  "desktop": (_mnist(5, (30, 10), (300, 100)), _mnist(3, (3000, 1000))),
}


def measure(run: restored.Run) -> dict[str, Any]:
  c = run.config
  objective = run.objective(
    batch_statistics="batch_stats" in run.weights["model_state"]
  )
  weights = [objective.flatten(s.weights["params"]) for s in run.snapshots()]
  epochs = c.snapshot_every_epochs * np.arange(len(weights))
  losses = np.array([float(objective.value(w)) for w in weights])
  numbers: dict[str, Any] = {
    "epochs": epochs.tolist(),
    "train_losses": losses.tolist(),
    "initial_train_loss": float(losses[0]),
    "train_loss": float(losses[-1]),
    "rate": rates.rate(epochs, losses),
    "straightness": rates.straightness(losses),
    "line_over_power": rates.line_over_power(epochs, losses),
  }
  if c.dataset != FACTORIZATION:
    return numbers
  targets = np.concatenate([b["targets"] for b in objective.batches])
  floor = rates.loss_floor(targets, c.num_neurons[0])
  numbers |= {
    "loss_floor": floor,
    "excess_rate": rates.rate(epochs, losses - floor),
  }
  if c.rho == RHO and not floor:
    numbers |= rates.bound(
      objective, weights, losses, c.rho, c.batch_size, c.learning_rate
    )
  return numbers


def _networks(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
  """Returns the runs of networks that SAM trained, by what they are."""
  runs = results[(results["workload"] != FACTORIZATION) & (results["rho"] > 0)]
  few = runs["batch_size"] == FEW_BATCH
  titles = runs["workload"].map(lambda name: workloads.TABLE[name].title)
  titles = titles.where(~few, runs["loss"].map(FEW))
  return dict(iter(runs.groupby(titles, sort=False)))


def _rank(results: pd.DataFrame, rank: int, rho: float) -> pd.DataFrame:
  return results[
    (results["workload"] == FACTORIZATION)
    & (results["shape"] == f"rank{rank}")
    & (results["rho"] == rho)
  ]


def _largest(runs: pd.DataFrame) -> pd.DataFrame:
  return runs[runs[SIZE] == runs[SIZE].max()]


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  results = results[results["status"] == "finished"]
  found = []
  if FACTORIZATION in set(results["workload"]):
    found += _claims_of_factorization(results)
  networks = _networks(results)
  for title, runs in networks.items():
    if title == FEW["cross_entropy"]:
      continue
    paper = _quote(runs["workload"].iloc[0])
    found += [
      findings.positive(
        f"{title}: the rate grows with the number of parameters",
        METRIC,
        paper,
        statistics.slope(runs, SIZE, "rate"),
      ),
      *_straight(f"{title}, the largest", _largest(runs), paper),
    ]
  if set(FEW.values()) <= set(networks):
    squared, entropy = (_largest(networks[title]) for title in FEW.values())
    words = "difference of straightness, paired over seeds"
    found.append(
      findings.positive(
        f"why: on {NUM_FEW} digits the line of the squared error, which has a"
        " minimum, is straighter than that of cross-entropy, which has none",
        METRIC,
        "not in the paper",
        statistics.difference(squared, entropy, "straightness", words),
      )
    )
  return found


def _claims_of_factorization(results: pd.DataFrame) -> list[findings.Finding]:
  four, ten = (_rank(results, rank, RHO) for rank in (4, 10))
  sam, sgd = (_rank(results, 10, rho) for rho in (LARGE_RHO, 0.0))
  above_floor = four.assign(rate=four["excess_rate"])
  paper, no_paper = _quote(FACTORIZATION), "not in the paper"
  faster = f", rank 10: SAM's loss, rho {LARGE_RHO:g}, falls faster than SGD's"
  return [
    _faster(
      ": the loss of rank 10 falls faster than that of rank 4", paper, ten, four
    ),
    _faster(
      ": and faster than that of rank 4 above its floor",
      no_paper,
      ten,
      above_floor,
    ),
    *_straight(f"{TITLE}, rank 10", ten, paper),
    _below_bound(ten),
    _faster(faster, no_paper, sam, sgd),
  ]


def _faster(
  text: str, paper: str, one: pd.DataFrame, other: pd.DataFrame
) -> findings.Finding:
  """Returns the finding that one loss falls faster than another."""
  words = "difference of rate (halvings an epoch), paired over seeds"
  gap = statistics.difference(one, other, "rate", words)
  return findings.positive(f"{TITLE}{text}", METRIC, paper, gap)


def _straight(
  title: str, runs: pd.DataFrame, paper: str
) -> list[findings.Finding]:
  """Returns the findings that the loss falls along a line."""
  words = f"straightness, over seeds; a line if above {STRAIGHT}"
  ratio = statistics.mean(runs, "straightness", words)
  words = "difference of R^2, over seeds"
  fit = statistics.mean(runs, "line_over_power", words)
  line = f"{title}: the loss falls along a line"
  rather = (
    f"{title}: after the first fifth of the epochs it is rather a line than a"
    " power of the epoch"
  )
  return [
    findings.within(line, METRIC, paper, ratio, above=STRAIGHT),
    findings.positive(rather, METRIC, paper, fit),
  ]


def _below_bound(runs: pd.DataFrame) -> findings.Finding:
  """Returns the finding that the loss is below the bound."""
  names = ("eta_star", "learning_rate", "bound_rate", "rate")
  middle = runs[[*rates.Constants._fields, *names]].median()
  constants = ", ".join(f"{k} {middle[k]:.3g}" for k in rates.Constants._fields)
  below = int((runs["bound_margin"] > 0).sum())
  falling = int((runs["bound_rate"] > 0).sum())
  words = "halvings of the loss below the bound, at the nearest epoch"
  return findings.positive(
    f"{TITLE}, rank 10, rho {RHO:g}: the loss is below the bound of Theorem H.3"
    f" at every epoch (in {below} of {len(runs)} seeds; in {falling} the bound"
    f" falls; medians: {constants}, eta* {middle['eta_star']:.2g}, eta"
    f" {middle['learning_rate']:.2g}; the bound falls by"
    f" {middle['bound_rate']:.2g} and the loss by {middle['rate']:.2g} halvings"
    " an epoch)",
    METRIC,
    "Theorems 6.6 and H.3",
    statistics.mean(runs, "bound_margin", words),
  )


def _quote(workload: str) -> str:
  """Returns what the paper found in the workload that is most alike."""
  table = reference.load("6c", workloads.nearest(workload))
  final = table[table["metric"] == "final_train_loss"]
  values = ", ".join(f"{x:.2g}" for x in final["value"])
  sizes = ", ".join(captions.number(n) for n in final[SIZE])
  return f"Figure 6c: final loss {values} with {sizes} parameters"


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  results = results[results["status"] == "finished"]
  networks = _networks(results)
  entropy = networks.pop(FEW["cross_entropy"], None)
  shown = []
  if FACTORIZATION in set(results["workload"]):
    shown.append(Panel(TITLE, _draw_factorization, (results,)))
  for title, runs in networks.items():
    is_last = title == list(networks)[-1]
    args = runs, entropy if is_last else None
    shown.append(Panel(title, _draw_network, args, "parameters"))
  return panels.figure(*shown)


def _draw_factorization(ax: Axes, results: pd.DataFrame) -> None:
  runs = results[results["workload"] == FACTORIZATION]
  of_rank = {rank: _rank(runs, rank, RHO) for rank in (4, 10)}
  of_rank = {rank: found for rank, found in of_rank.items() if len(found)}
  means = {f"rank {k}": _mean(x["train_losses"]) for k, x in of_rank.items()}
  bounds = {}
  if 10 in of_rank:
    bounds["rank 10"] = _mean(of_rank[10]["bounds"])[0]
  curves.losses(ax, runs["epochs"].iloc[0], means, bounds=bounds)
  if 4 in of_rank:
    floor = float(_mean(of_rank[4]["loss_floor"])[0])
    ax.axhline(floor, color="0.5", linewidth=1.0, label="floor of rank 4")
  _draw_paper(ax, runs)


def _draw_network(
  ax: Axes, runs: pd.DataFrame, entropy: pd.DataFrame | None
) -> None:
  groups = runs.groupby(SIZE)["train_losses"]
  means = {size: _mean(losses) for size, losses in groups}
  curves.losses(ax, runs["epochs"].iloc[0], means)
  _draw_paper(ax, runs)
  if entropy is not None:
    mean, _ = _mean(entropy["train_losses"])
    epochs = entropy["epochs"].iloc[0]
    ax.plot(
      epochs, mean, "--", color="0.4", linewidth=1.2, label="cross-entropy"
    )


def _draw_paper(ax: Axes, runs: pd.DataFrame) -> None:
  """Draws the paper's initial and final losses, as far as they are known."""
  workload = runs["workload"].iloc[0]
  if not workloads.is_papers(workload):
    return
  table = reference.load("6c", workload)
  colors = {line.get_label(): line.get_color() for line in ax.lines}
  epochs = runs["epochs"].iloc[0]
  for size, part in table.groupby(SIZE):
    label = captions.number(size)
    if workload == FACTORIZATION:
      label = f"rank {part['size'].iloc[0]}"
    losses = part["value"].sort_values(ascending=False).to_numpy()
    ax.plot(
      [epochs[0], epochs[-1]][-len(losses) :],
      losses,
      "o:",
      color=colors.get(label, figures.PAPER),
      linewidth=1.0,
      markersize=3.5,
      label=f"{label}, paper",
    )
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, losses[-1] / 1.5), max(high, losses[0] * 1.5))


def _mean(losses: pd.Series) -> tuple[np.ndarray, np.ndarray]:
  """Returns the geometric mean over seeds of some curves, and its error."""
  logs = np.log(np.stack(losses.to_list()))
  mean = np.exp(logs.mean(0))
  return mean, mean * logs.std(0, ddof=1) / np.sqrt(len(logs))


STUDY = Study(
  paper="Figure 6c and Theorem 6.6",
  claim=(
    "overparameterized, SAM converges at a linear rate, and faster the more"
    " parameters there are"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
  measure=Measure(
    measure,
    (
      "epochs",
      "train_losses",
      "initial_train_loss",
      "train_loss",
      "rate",
      "straightness",
      "line_over_power",
    ),
    seconds=0.25,
  ),
)
