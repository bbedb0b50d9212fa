"""Simulates how often verdicts are wrong: `python -m scripts.false_verdicts`.

Draws runs whose metric does not depend on rho at all, and asks how often they
are said to show that SAM gains: with rho chosen on the same seeds (naive) and
on the other seeds. Then draws gains of a known mean, and asks how often the
intervals cover it. What a run is worth is shared by its validation and test
metric, as in training. Prints the tables of docs/statistics.md, in percent.

  normal      a run's worth is normal, of standard deviation 1 point
  skewed      it is minus an exponential one, of the same standard deviation
  collapsing  it is normal, and one run in 20 is 20 points below

A study of five sizes has five values of rho; the metric has steps of 1/360, and
validation and test add an error of 0.5 points each.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Callable, Sequence
import json
import pathlib

import numpy as np
import pandas as pd

from analysis import selection
from analysis import statistics
from analysis import verdicts
from scripts import pages

SEEDS = (3, 5, 10)
RHOS = (0.01, 0.02, 0.05, 0.1, 0.2)
SIZES = (100, 200, 400, 800, 1600)
TEST, VALIDATION = "final_test_accuracy", "final_validation_accuracy"
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  """Returns points of mean 0 and standard deviation 1."""
  return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  """Returns points of mean 0 and standard deviation 1, few of them low."""
  return 1 - rng.standard_exponential(shape)


def collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  """Returns points of mean 0, of which one in 20 is 20 below the others."""
  return normal(rng, shape) + 1 - 20 * (rng.random(shape) < 0.05)


DRAWS: dict[str, Draw] = {
  "normal": normal,
  "skewed": skewed,
  "collapsing": collapsing,
}


def runs(
  rng: np.random.Generator, draw: Draw, num_seeds: int, sizes: Sequence[int]
) -> pd.DataFrame:
  """Returns a study's runs, in which neither rho nor the size has an effect."""
  grid = pd.MultiIndex.from_product(
    [sizes, (0.0, *RHOS), range(num_seeds)], names=["size", "rho", "seed"]
  ).to_frame(index=False)
  worth = 80 + draw(rng, (len(grid),))
  measured = {
    name: np.round((worth + 0.5 * rng.standard_normal(len(grid))) * 3.6) / 360
    for name in (TEST, VALIDATION)
  }
  return grid.assign(status="finished", **measured)


def selection_row(name: str, num_seeds: int, num: int) -> dict[str, object]:
  """Returns how often "SAM gains" and "the gain grows" hold without effect."""
  rng = np.random.default_rng([num_seeds, len(name)])
  counts = dict.fromkeys(
    ("one size", "its", "mean", "means", "grows", "falls"), 0
  )
  bias = {"naive": 0.0, "gain": 0.0}
  for _ in range(num):
    gains = selection.gains(
      runs(rng, DRAWS[name], num_seeds, SIZES), ["size"], TEST, VALIDATION
    )
    for column in bias:
      bias[column] += gains[column].mean() / num
    naive = gains.assign(gain=gains["naive"])
    first = gains["size"] == SIZES[0]
    slope = statistics.slope(gains, "size")
    for key, estimate in (
      ("one size", statistics.mean_gain(naive[first])),
      ("its", statistics.mean_gain(gains[first])),
      ("mean", statistics.mean_gain(naive)),
      ("means", statistics.mean_gain(gains)),
      ("grows", slope),
    ):
      counts[key] += verdicts.verdict(estimate, above=0) == verdicts.HOLDS
    counts["falls"] += verdicts.verdict(slope, above=0) == verdicts.FAILS
  share = {key: 100 * count / num for key, count in counts.items()}
  return {
    "runs": name,
    "n": num_seeds,
    "naive bias": bias["naive"],
    "bias": bias["gain"],
    "one size, naive": share["one size"],
    "one size": share["its"],
    "mean of five, naive": share["mean"],
    "mean of five": share["means"],
    "grows": share["grows"],
    "does not": share["falls"],
  }


def coverage_row(name: str, num_seeds: int, num: int) -> dict[str, object]:
  """Returns how often intervals cover the mean of gains, which is 0."""
  rng = np.random.default_rng([num_seeds, len(name), 1])
  student = robust = holds = fails = 0
  for _ in range(num):
    values = pd.Series(DRAWS[name](rng, (num_seeds,)))
    table = pd.DataFrame({"seed": range(num_seeds), "gain": values})
    estimate = statistics.mean(table, "gain")
    student += estimate.low <= 0 <= estimate.high
    robust += estimate.robust_low <= 0 <= estimate.robust_high
    found = verdicts.verdict(estimate, above=0)
    holds += found == verdicts.HOLDS
    fails += found == verdicts.FAILS
  return {
    "gains": name,
    "n": num_seeds,
    "Student covers": 100 * student / num,
    "BCa covers": 100 * robust / num,
    "holds": 100 * holds / num,
    "does not hold": 100 * fails / num,
  }


def markdown(rows: Sequence[dict[str, object]]) -> str:
  """Returns a table of Markdown; numbers have one digit, biases two."""
  lines = [
    [
      f"{value:.{2 if 'bias' in key else 1}f}"
      if isinstance(value, float)
      else str(value)
      for key, value in row.items()
    ]
    for row in rows
  ]
  return pages.table(list(rows[0]), lines)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--num", type=int, default=2000, help="studies of a row")
  parser.add_argument("--out", type=pathlib.Path, help="file of JSON")
  args = parser.parse_args()
  grid = [(name, n) for name in DRAWS for n in SEEDS]
  chosen = [selection_row(name, n, args.num) for name, n in grid]
  print(
    f"no effect, {args.num} studies a row\n\n{markdown(chosen)}", flush=True
  )
  covered = [coverage_row(name, n, args.num) for name, n in grid]
  print(f"\ngains of mean 0, {args.num} samples a row\n\n{markdown(covered)}")
  if args.out:
    tables = {"num": args.num, "no_effect": chosen, "coverage": covered}
    args.out.write_text(json.dumps(tables, indent=2))


if __name__ == "__main__":
  main()
