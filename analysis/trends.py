"""Trends over sizes and rho of numbers that take few values.

A best rho is one of a few of a grid, and a correlation of ranks one of a few
numbers, so neither Student's interval nor the bootstrap's is one of 95 %. Their
p-value is that of a permutation test: how often is the trend as large if no
size, or no rho, differs from another?
"""

import math

import numpy as np
import pandas as pd

from analysis import selection
from analysis.statistics import PRECISION
from analysis.statistics import TAILS
from analysis.statistics import Estimate
from run_folder import scoring

_NUM_RESAMPLES = 2000
_NUM_PERMUTATIONS = 10_000  # With what was observed.


def rho_trend(frame: pd.DataFrame, size: str, choose_by: str) -> Estimate:
  """Returns the growth of log2 of the best rho for each doubling of the size.

  It is a least-squares slope. Its p-value is that of a permutation test in
  which each seed's sizes change places: exact up to the number of permutations,
  if without a trend the metric depends on rho at one size as at another. The
  range is that of the percentile bootstrap over seeds, the same ones for all
  sizes: those that every size has. A rho that lacks a seed at a size is no
  candidate there; for the test, nowhere. A size without candidates is left out,
  and fewer than two sizes give NaN.

  Args:
    frame: runs of one condition, so that size, rho and seed identify one.
    size: a column of at least two values, such as 'num_parameters'.
    choose_by: the metric by which rho is chosen.

  Raises:
    ValueError: two runs share size, rho and seed.
  """
  sam = frame[frame["rho"] > 0]
  selection.refuse_repeats(sam, [size, "rho", "seed"])
  sizes_of_seed = sam.groupby("seed")[size].transform("nunique")
  sam = sam[sizes_of_seed == sam[size].nunique()]
  table = (
    sam[sam["status"] == "finished"]
    .pivot(index=[size, "rho"], columns="seed", values=choose_by)
    .reindex(columns=np.sort(sam["seed"].unique()))
    .dropna()
    .sort_index()
  )
  table = scoring.score(choose_by, 1) * table
  statistic = (
    f"slope of log2 of the best rho for each doubling of {size},"
    " permutation test"
  )
  sizes, rhos = (table.index.get_level_values(i).to_numpy() for i in (0, 1))
  n = table.shape[1]
  if len(np.unique(sizes)) < 2:
    return Estimate(math.nan, math.nan, math.nan, n, statistic)
  rng = np.random.default_rng(0)
  weights = np.vstack(
    [np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=_NUM_RESAMPLES)]
  )
  means = weights / n @ table.T.to_numpy()
  best = [
    rhos[sizes == one][_first_best(means[:, sizes == one])]
    for one in np.unique(sizes)
  ]
  slopes = _slopes(np.unique(sizes), np.stack(best, axis=1))
  low, high = np.quantile(slopes[1:], TAILS)
  return Estimate(
    float(slopes[0]),
    float(low),
    float(high),
    n,
    statistic,
    p=_p_of_trend(table, rng),
  )


def _p_of_trend(table: pd.DataFrame, rng: np.random.Generator) -> float:
  """Returns how often the best rho has as much of a trend by chance.

  Args:
    table: [size and rho, seed], the larger the better.
    rng: draws which sizes change places.
  """
  scores = table.unstack(level=0).dropna()  # [R, S * K]
  sizes = np.unique(table.index.get_level_values(0))
  rhos = scores.index.to_numpy(float)
  if len(rhos) < 2:
    return 1.0
  scores_SxKxR = scores.to_numpy().T.reshape(-1, len(sizes), len(rhos))
  draws = rng.random((_NUM_PERMUTATIONS, *scores_SxKxR.shape[:2]))
  drawn_NxSxK = np.argsort(draws, axis=2)
  drawn_NxSxK[0] = np.arange(len(sizes))  # What was observed.
  means_NxKxR = sum(
    scores_KxR[drawn_NxSxK[:, seed]]
    for seed, scores_KxR in enumerate(scores_SxKxR)
  )
  best_NxK = rhos[_first_best(means_NxKxR)]
  return _share_as_large(_slopes(sizes, best_NxK))


def _first_best(scores: np.ndarray) -> np.ndarray:
  """Returns the first of the best along the last axis, as `choose` does."""
  best = scores.max(axis=-1, keepdims=True)
  return np.argmax(scores >= best - PRECISION * np.abs(best), axis=-1)


def _slopes(sizes_K: np.ndarray, rhos_NxK: np.ndarray) -> np.ndarray:
  """Returns the slope of log2 of each row on that of the sizes."""
  log = np.log2(sizes_K.astype(float))
  log -= log.mean()
  return np.log2(rhos_NxK) @ log / (log @ log)


def _share_as_large(values_N: np.ndarray) -> float:
  """Returns the share of values that are as far from 0 as the first one."""
  return float(np.mean(np.abs(values_N) >= abs(values_N[0]) - 1e-9))


def _correlation_with_order(values_NxK: np.ndarray) -> np.ndarray:
  """Returns Spearman's correlation of each row with 1, 2, ..., K."""
  ranks = pd.DataFrame(values_NxK).rank(axis=1).to_numpy()
  ranks = ranks - ranks.mean(axis=1, keepdims=True)
  order = np.arange(ranks.shape[1]) - (ranks.shape[1] - 1) / 2
  norms = np.linalg.norm(ranks, axis=1) * np.linalg.norm(order)
  return ranks @ order / np.where(norms > 0, norms, 1)


def rank_trend(table: pd.DataFrame, statistic: str) -> Estimate:
  """Returns how far each row's values are in the order of the columns.

  It is the mean over rows of Spearman's correlation. Its p-value is that of a
  permutation test in which the values of each row change places; the range is
  that of the percentile bootstrap over seeds.

  Args:
    table: a row for each seed and, if the index has another level, size; the
      columns in order, such as rho. The index has the level 'seed'.
    statistic: what is correlated, in one line.
  """
  if not table.size:
    return Estimate(math.nan, math.nan, math.nan, 0, statistic)
  rng = np.random.default_rng(0)
  rows = pd.Series(_correlation_with_order(table.to_numpy()), table.index)
  seeds = rows.groupby("seed").mean().to_numpy()
  n = len(seeds)
  resamples = seeds[rng.integers(n, size=(_NUM_RESAMPLES, n))].mean(axis=1)
  low, high = np.quantile(resamples, TAILS)
  sums = np.zeros(_NUM_PERMUTATIONS)
  for row in table.to_numpy():
    draws = rng.permuted(np.tile(row, (_NUM_PERMUTATIONS, 1)), axis=1)
    draws[0] = row  # What was observed.
    sums += _correlation_with_order(draws)
  return Estimate(
    float(seeds.mean()),
    float(low),
    float(high),
    n,
    statistic,
    p=_share_as_large(sums),
  )
