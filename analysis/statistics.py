"""Statistics of runs: the best rho, what SAM gains, and whether a claim holds.

Frames are those of `table.read_frame`, one row a run. Accuracies come as
fractions and leave in percent, their gains in percentage points; losses stay as
they are. A gain is positive where SAM is better. A diverged run counts as
missing. Every function is pure; none reads or writes a file.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from configs import fields
from run_folder import scoring

CONFIDENCE = 0.95
# What only SAM reads: runs of the base optimizer belong to every value of it.
SAM_ONLY = {
  name
  for name, field in fields.FIELDS.items()
  if "sam" in field.read_if.get("optimizer", ())
} - {"base_optimizer", "rho"}
_TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A statistic over seeds.

  Attributes:
    value: the estimate.
    low: lower end of its 95 % interval; NaN if the seeds do not give one.
    high: upper end.
    n: number of seeds.
    statistic: what was estimated, and how, with its unit, in one line.
  """

  value: float
  low: float
  high: float
  n: int
  statistic: str


def scale(metric: str) -> float:
  """Returns what turns a metric of a frame into what is shown: percent."""
  return 100.0 if metric.endswith(("accuracy", "precision")) else 1.0


def validation_metric(metric: str) -> str:
  """Returns by which metric of a validation split to choose for a metric.

  It is that of the final epoch or, for another epoch's, of the best validation
  epoch.
  """
  when, _, kind = metric.split("_", 2)
  return f"{'final' if when == 'final' else 'chosen'}_validation_{kind}"


def _refuse_repeats(frame: pd.DataFrame, columns: list[str]) -> None:
  repeated = frame[frame.duplicated(columns)]
  if len(repeated):
    where = ", ".join(f"{c}={repeated.iloc[0][c]}" for c in columns)
    raise ValueError(f"more than one run has {where}")


def choose(
  frame: pd.DataFrame, group: Sequence[str], over: str, choose_by: str
) -> pd.DataFrame:
  """Returns the value of a column that is best on average over the seeds.

  A value counts only if every seed of its group finished and has the metric.
  Of equally good ones the smallest is taken. A group in which none counts is
  left out.

  Args:
    frame: runs; one for each of group, `over` and seed.
    group: columns, at least one; a choice is made for each of their values.
    over: the column that is chosen, such as 'rho'.
    choose_by: the metric, such as 'final_validation_accuracy'.

  Returns:
    Columns: the group's, `over`, and `choose_by`, its mean.

  Raises:
    ValueError: two runs share group, `over` and seed.
  """
  group = list(group)
  _refuse_repeats(frame, [*group, over, "seed"])
  seeds = frame.groupby(group)["seed"].nunique()
  finished = frame[frame["status"] == "finished"]
  means = finished.groupby([*group, over])[choose_by].agg(["mean", "count"])
  means = means.reset_index().merge(seeds.reset_index(), on=group)
  means = means[means["count"] == means["seed"]].reset_index(drop=True)
  # Rounded, or the order of summation would break ties.
  scores = scoring.score(choose_by, 1) * means["mean"].round(12)
  rows = scores.groupby([means[name] for name in group]).idxmax()
  chosen = means.loc[rows, [*group, over, "mean"]]
  return chosen.rename(columns={"mean": choose_by}).reset_index(drop=True)


def optimal_rho(
  frame: pd.DataFrame, group: Sequence[str], choose_by: str
) -> pd.DataFrame:
  """Returns `choose` over the rho > 0."""
  return choose(frame[frame["rho"] > 0], group, "rho", choose_by)


def gains(
  frame: pd.DataFrame, group: Sequence[str], metric: str, choose_by: str
) -> pd.DataFrame:
  """Returns what SAM gains over the base optimizer, paired by seed.

  In each group rho is `optimal_rho`. Without a validation split `choose_by` can
  be a test metric, as in the paper; it is the caller's to say so.

  Args:
    frame: runs; one for each of group, rho and seed.
    group: columns, at least one, such as ['label_noise', 'num_parameters'].
    metric: column of the gain, an accuracy or a loss.
    choose_by: column by which rho is chosen.

  Returns:
    One row a group and seed. Columns: the group's, seed, rho, base and sam (the
    metric of both), gain. `attrs['num_dropped']` counts SAM's pairs of group
    and seed that have no row, since a run of the pair diverged or is missing.

  Raises:
    ValueError: two runs of SAM share group, rho and seed.
  """
  group = list(group)
  shared = [name for name in group if name not in SAM_ONLY] + ["seed"]
  finished = frame[frame["status"] == "finished"]
  chosen = optimal_rho(frame, group, choose_by)[[*group, "rho"]]
  sam = finished.merge(chosen, on=[*group, "rho"])
  sam = sam[[*group, "seed", "rho", metric]].rename(columns={metric: "sam"})
  # In a sweep, each value of what only SAM reads repeats the base's runs.
  means = finished[finished["rho"] == 0].groupby(shared)[metric].mean()
  pairs = sam.merge(means.rename("base").reset_index(), on=shared).dropna()
  pairs[["base", "sam"]] *= scale(metric)
  pairs["gain"] = scoring.score(metric, 1) * (pairs["sam"] - pairs["base"])
  pairs = pairs.sort_values([*group, "seed"], ignore_index=True)
  wanted = frame.loc[frame["rho"] > 0, [*group, "seed"]].drop_duplicates()
  pairs.attrs["num_dropped"] = len(wanted) - len(pairs)
  return pairs[[*group, "seed", "rho", "base", "sam", "gain"]]


def summary(gains: pd.DataFrame, group: Sequence[str]) -> pd.DataFrame:
  """Returns the mean gain of each group, with its errors over seeds.

  Columns: the group's, rho, n, mean, stderr, low and high (the ends of the 95 %
  Student t interval of the mean), base, base_stderr, sam, sam_stderr. With one
  seed there are no errors: they are NaN.
  """
  by = gains.groupby(list(group))
  out = by.agg(
    rho=("rho", "first"),
    n=("gain", "size"),
    mean=("gain", "mean"),
    stderr=("gain", "sem"),
  )
  half = special.stdtrit(out["n"] - 1, _TAILS[1]) * out["stderr"]
  out["low"], out["high"] = out["mean"] - half, out["mean"] + half
  for name in ("base", "sam"):
    out[name], out[f"{name}_stderr"] = by[name].mean(), by[name].sem()
  return out.reset_index()


def _over_seeds(values: pd.Series, statistic: str) -> Estimate:
  """Returns the mean of one value a seed, with its Student t interval."""
  n = len(values)
  half = special.stdtrit(n - 1, _TAILS[1]) * values.sem() if n > 1 else math.nan
  mean = float(values.mean())
  return Estimate(mean, float(mean - half), float(mean + half), n, statistic)


def mean_gain(gains: pd.DataFrame) -> Estimate:
  """Returns the mean gain; of several groups, each seed's mean first."""
  return _over_seeds(
    gains.groupby("seed")["gain"].mean(), "mean gain, paired over seeds"
  )


def difference(
  gains_a: pd.DataFrame,
  gains_b: pd.DataFrame,
  y: str = "gain",
  statistic: str = "difference of two mean gains, paired over seeds",
) -> Estimate:
  """Returns by how much the gain, or `y`, of a exceeds b's, paired by seed."""
  a, b = (g.groupby("seed")[y].mean() for g in (gains_a, gains_b))
  return _over_seeds((a - b).dropna(), statistic)


def mean(table: pd.DataFrame, y: str, statistic: str = "") -> Estimate:
  """Returns the mean of a column; of several rows, each seed's mean first.

  Args:
    table: with a column 'seed'.
    y: the column.
    statistic: what the mean is called; '': by the name of the column.
  """
  return _over_seeds(
    table.groupby("seed")[y].mean(),
    statistic or f"mean of {_words(y)}, over seeds",
  )


def jackknife(
  function: Callable[[np.ndarray], float], values: np.ndarray, statistic: str
) -> Estimate:
  """Returns a number that all seeds have together, such as a variance.

  Its interval is Student's t with the standard error of the jackknife, which
  leaves out each seed in turn; of a mean it is that of the mean.

  Args:
    function: smooth, of all seeds or of all but one.
    values: [S, ...], S seeds.
    statistic: what it is, in one line.
  """
  n = len(values)
  value = function(values)
  without = [function(np.delete(values, i, 0)) for i in range(n)]
  stderr = math.sqrt(n - 1) * float(np.std(without))
  half = float(special.stdtrit(n - 1, _TAILS[1])) * stderr
  return Estimate(value, value - half, value + half, n, statistic)


def slope(
  gains: pd.DataFrame, x: str, y: str = "gain", statistic: str = ""
) -> Estimate:
  """Returns the growth of the gain for each doubling of `x`.

  It is the least-squares slope on log2(x) of each seed that has all values of
  `x`, averaged over these seeds.

  Args:
    gains: of one condition, so that seed and `x` identify a row.
    x: a column of at least two values, such as 'num_parameters'.
    y: another column than the gain, whose growth is returned.
    statistic: what the slope is called; '': by the names of the columns.
  """
  table = gains.pivot(index="seed", columns=x, values=y).dropna()
  log = np.log2(table.columns.to_numpy(float))
  log -= log.mean()
  slopes = table @ log / (log @ log)
  return _over_seeds(
    slopes, statistic or f"slope of {_words(y)} for each doubling of {x}"
  )


def _words(y: str) -> str:
  return "the " + y.replace("_", " ")


def rho_trend(
  frame: pd.DataFrame,
  size: str,
  choose_by: str,
  num_resamples: int = 2000,
) -> Estimate:
  """Returns Spearman's correlation of the best rho with the size.

  The interval is that of the percentile bootstrap over seeds, the same ones for
  all sizes: those that every size has. If rho is the same for all sizes, the
  correlation is 0 by convention. A rho that lacks a seed at a size is no
  candidate there; a size without candidates is left out, and fewer than two
  sizes give NaN.

  Args:
    frame: runs of one condition, so that size, rho and seed identify one.
    size: a column of at least two values, such as 'num_parameters'.
    choose_by: the metric by which rho is chosen.
    num_resamples: number of bootstrap samples.

  Raises:
    ValueError: two runs share size, rho and seed.
  """
  sam = frame[frame["rho"] > 0]
  _refuse_repeats(sam, [size, "rho", "seed"])
  sizes_of_seed = sam.groupby("seed")[size].transform("nunique")
  sam = sam[sizes_of_seed == sam[size].nunique()]
  table = (
    sam[sam["status"] == "finished"]
    .pivot(index=[size, "rho"], columns="seed", values=choose_by)
    .reindex(columns=np.sort(sam["seed"].unique()))
    .dropna()
    .sort_index()
  )
  statistic = f"Spearman correlation of the best rho and {size}, bootstrap"
  sizes, rhos = (table.index.get_level_values(i).to_numpy() for i in (0, 1))
  n = table.shape[1]
  if len(np.unique(sizes)) < 2:
    return Estimate(math.nan, math.nan, math.nan, n, statistic)
  rng = np.random.default_rng(0)
  weights = np.vstack(
    [np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=num_resamples)]
  )
  means = (weights / n @ table.T.to_numpy()).round(12)
  means *= scoring.score(choose_by, 1)
  best = [
    rhos[sizes == one][means[:, sizes == one].argmax(axis=1)]
    for one in np.unique(sizes)
  ]
  correlations = _correlation_with_order(np.stack(best, axis=1))
  low, high = np.quantile(correlations[1:], _TAILS)
  return Estimate(float(correlations[0]), float(low), float(high), n, statistic)


def _correlation_with_order(values_NxK: np.ndarray) -> np.ndarray:
  """Returns Spearman's correlation of each row with 1, 2, ..., K."""
  ranks = pd.DataFrame(values_NxK).rank(axis=1).to_numpy()
  ranks = ranks - ranks.mean(axis=1, keepdims=True)
  order = np.arange(ranks.shape[1]) - (ranks.shape[1] - 1) / 2
  norms = np.linalg.norm(ranks, axis=1) * np.linalg.norm(order)
  return ranks @ order / np.where(norms > 0, norms, 1)


def verdict(
  estimate: Estimate, *, above: float = -math.inf, at_most: float = math.inf
) -> str:
  """Returns whether the claim above < statistic <= at_most is borne out.

  'holds' if the whole interval lies in that range, 'does not hold' if it lies
  outside on one side, else 'undecided', as without an interval.

  Examples: `above=0` for "is positive"; `at_most=margin` for "does not grow",
  with the growth that is still called none; both for "is about 0".
  """
  if estimate.low > above and estimate.high <= at_most:
    return "holds"
  if estimate.high <= above or estimate.low > at_most:
    return "does not hold"
  return "undecided"


def claim_record(
  text: str, metric: str, paper: str, estimate: Estimate, verdict: str
) -> dict[str, Any]:
  """Returns a claim and what was found, for JSON.

  Args:
    text: the claim, in words.
    metric: the metric it is about, by name.
    paper: what the paper says or shows, with the figure.
    estimate: what was measured.
    verdict: what `verdict` says of it.
  """
  found = {
    name: None if isinstance(value, float) and math.isnan(value) else value
    for name, value in dataclasses.asdict(estimate).items()
  }
  return {
    "claim": text,
    "metric": metric,
    "paper": paper,
    "verdict": verdict,
    **found,
  }
