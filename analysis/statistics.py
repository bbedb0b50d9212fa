"""Estimates over seeds: means, differences and slopes, with 95 % intervals.

Tables have a column 'seed'; those of gains are `selection.gains`. Every
function is pure; none reads or writes a file.

An estimate is the mean of one value a seed. Its interval is Student's, but
never narrower than the steps of the value allow: an accuracy on 360 examples is
a multiple of 1/360. What differs by no more than the rounding of the metrics,
which runs record in float32, is equal. Beside it stands the bias-corrected and
accelerated bootstrap (BCa), which does not take the seeds for normally
distributed.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math

import numpy as np
import pandas as pd
from scipy import special
from scipy import stats

CONFIDENCE = 0.95
TAILS = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
# Metrics are rounded by less than this share of them.
PRECISION = 1e-6
_NUM_RESAMPLES = 9999
# A value that was rounded to a multiple of 1 has this standard deviation.
_ROUNDING = 1 / math.sqrt(12)


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A statistic over seeds.

  Attributes:
    value: the estimate.
    low: lower end of its 95 % interval; NaN if the seeds do not give one.
    high: upper end.
    n: number of seeds.
    statistic: what was estimated, and how, with its unit, in one line.
    robust_low: lower end of the BCa interval; NaN if there is none.
    robust_high: upper end.
    naive: the estimate from gains at a rho that was chosen on all seeds, as
      papers report it; NaN if no rho was chosen.
    p: two-sided p-value of "it is 0", if a permutation test gives it. Then low
      and high are the range of 95 % of the bootstrap's resamples, which covers
      the truth less often than that. Else NaN.
    is_ratio: whether its interval is Student's of its logarithm.
  """

  value: float
  low: float
  high: float
  n: int
  statistic: str
  robust_low: float = math.nan
  robust_high: float = math.nan
  naive: float = math.nan
  p: float = math.nan
  is_ratio: bool = False


def interval(
  values: pd.Series, rounding: float = 0.0, noise: float = 0.0
) -> tuple[float, float]:
  """Returns Student's 95 % interval of the mean.

  Args:
    values: one a seed.
    rounding: the least standard deviation that each of them has.
    noise: by how much equal ones may differ.
  """
  n = len(values)
  if n < 2:
    return math.nan, math.nan
  spread = 0.0 if _are_equal(values, noise) else float(values.sem())
  stderr = max(spread, rounding / math.sqrt(n))
  half = float(special.stdtrit(n - 1, TAILS[1])) * stderr
  mean = float(values.mean())
  return mean - half, mean + half


def _are_equal(values: pd.Series, noise: float) -> bool:
  """Returns whether values differ by no more than the noise, or last digits."""
  return bool(np.ptp(values) <= max(noise, 1e-12 * np.max(np.abs(values))))


def robust_interval(
  values: pd.Series, noise: float = 0.0
) -> tuple[float, float]:
  """Returns the BCa bootstrap's 95 % interval of the mean.

  An end within the noise of 0 is 0.

  Args:
    values: one a seed.
    noise: see `interval`.

  Source: Efron (1987), Better bootstrap confidence intervals.
  """
  if len(values) < 2:
    return math.nan, math.nan
  if _are_equal(values, noise):  # The method is not defined.
    return float(values.mean()), float(values.mean())
  found = stats.bootstrap(
    (values.to_numpy(float),),
    np.mean,
    n_resamples=_NUM_RESAMPLES,
    confidence_level=CONFIDENCE,
    method="BCa",
    rng=np.random.default_rng(0),
  ).confidence_interval
  low, high = (float(x) if abs(x) > noise else 0.0 for x in found)
  return low, high


def summary(gains: pd.DataFrame, group: Sequence[str]) -> pd.DataFrame:
  """Returns the mean gain of each group, with its errors over seeds.

  Columns: the group's, rho (chosen on all seeds), n, mean, stderr, low and high
  (the ends of `interval`), robust_low and robust_high (those of
  `robust_interval`), naive (the mean gain at rho), base, base_stderr, sam,
  sam_stderr. With one seed there are no errors: they are NaN.
  """
  step, noise = _step(gains, "gain"), _noise(gains, "gain")
  names = [*group, "rho", "n", "mean", "stderr", "low", "high"]
  names += ["robust_low", "robust_high", "naive"]
  names += ["base", "base_stderr", "sam", "sam_stderr"]
  rows = []
  for key, part in gains.groupby(list(group)):
    gain = part["gain"]
    low, high = interval(gain, step * _ROUNDING, noise)
    robust_low, robust_high = robust_interval(gain, noise)
    row = dict(zip(group, key, strict=True))
    row |= {"rho": part["naive_rho"].iloc[0], "n": len(part)}
    row |= {"mean": gain.mean(), "stderr": gain.sem(), "low": low, "high": high}
    row |= {"robust_low": robust_low, "robust_high": robust_high}
    row["naive"] = part["naive"].mean()
    for name in ("base", "sam"):
      row |= {name: part[name].mean(), f"{name}_stderr": part[name].sem()}
    rows.append(row)
  return pd.DataFrame(rows, columns=names, dtype=None if rows else float)


def _step(table: pd.DataFrame, y: str) -> float:
  """Returns the step of a column: the least difference of two of its values.

  That of a gain is seen in the metrics of which it is the difference, too. It
  is 0 if there is but one value, since then nothing is known of it.
  """
  names = _sources(table, y)
  noise = _noise(table, y)
  steps = [
    difference
    for name in names
    for difference in np.diff(np.unique(table[name].to_numpy(float)))
    if difference > noise
  ]
  # Two metrics are rounded where there is a gain.
  return min(steps, default=0.0) * (math.sqrt(2) if len(names) > 1 else 1)


def _sources(table: pd.DataFrame, y: str) -> set[str]:
  """Returns the columns of which the steps of a column come."""
  return {y, "base", "sam"} & set(table) if y in ("gain", "naive") else {y}


def _noise(table: pd.DataFrame, y: str) -> float:
  """Returns by how much equal values of a column may differ."""
  sources = np.abs(table[list(_sources(table, y))].to_numpy(float))
  return PRECISION * float(np.max(sources[np.isfinite(sources)], initial=0.0))


def _over_seeds(
  per_seed: Callable[[str], pd.Series],
  y: str,
  tables: Sequence[pd.DataFrame],
  rounding: float,
  statistic: str,
) -> Estimate:
  """Returns the mean of one value a seed.

  Args:
    per_seed: from the name of a column to a value for each seed.
    y: the column.
    tables: of which the values are.
    rounding: the standard deviation of a seed's value if those of the column
      had 1.
    statistic: what is estimated.
  """
  values = per_seed(y).astype(float)
  step = max(_step(table, y) for table in tables) * _ROUNDING
  noise = max(_noise(table, y) for table in tables) * rounding
  low, high = interval(values, step * rounding, noise)
  robust_low, robust_high = robust_interval(values, noise)
  has_naive = y == "gain" and all("naive" in table for table in tables)
  return Estimate(
    float(values.mean()),
    low,
    high,
    len(values),
    statistic,
    robust_low,
    robust_high,
    naive=float(per_seed("naive").mean()) if has_naive else math.nan,
  )


def _rows_a_seed(table: pd.DataFrame) -> float:
  return max(len(table) / max(table["seed"].nunique(), 1), 1.0)


def mean(
  table: pd.DataFrame, y: str, statistic: str = "", step: float = 0.0
) -> Estimate:
  """Returns the mean of a column; of several rows, each seed's mean first.

  Args:
    table: with a column 'seed'.
    y: the column.
    statistic: what the mean is called; '': by the name of the column.
    step: of what the values are multiples, if all may be the same.
  """
  rounding = 1 / math.sqrt(_rows_a_seed(table))
  found = _over_seeds(
    lambda name: table.groupby("seed")[name].mean(),
    y,
    [table],
    rounding,
    statistic or f"mean of {_words(y)}, over seeds",
  )
  if found.low == found.high and step:
    half = interval(pd.Series([0.0] * found.n), step * _ROUNDING * rounding)[1]
    found = dataclasses.replace(
      found, low=found.value - half, high=found.value + half
    )
  return found


def mean_gain(gains: pd.DataFrame) -> Estimate:
  """Returns the mean gain; of several groups, each seed's mean first."""
  return mean(gains, "gain", "mean gain, paired over seeds")


def difference(
  gains_a: pd.DataFrame,
  gains_b: pd.DataFrame,
  y: str = "gain",
  statistic: str = "difference of two mean gains, paired over seeds",
) -> Estimate:
  """Returns by how much the gain, or `y`, of a exceeds b's, paired by seed.

  Of the same runs there is no difference, and n is 0.
  """
  if gains_a.equals(gains_b):
    return _nothing(f"{statistic} (of the same runs, two kinds are needed)")
  tables = [gains_a, gains_b]

  def per_seed(name: str) -> pd.Series:
    a, b = (table.groupby("seed")[name].mean() for table in tables)
    return (a - b).dropna()

  rounding = math.sqrt(sum(1 / _rows_a_seed(table) for table in tables))
  return _over_seeds(per_seed, y, tables, rounding, statistic)


def slope(
  gains: pd.DataFrame, x: str, y: str = "gain", statistic: str = ""
) -> Estimate:
  """Returns the growth of the gain for each doubling of `x`.

  It is the least-squares slope on log2(x) of each seed that has all values of
  `x`, averaged over these seeds.

  Args:
    gains: of one condition, so that seed and `x` identify a row.
    x: a column such as 'num_parameters'; of one value only, there is no slope,
      and n is 0.
    y: another column than the gain, whose growth is returned.
    statistic: what the slope is called; '': by the names of the columns.
  """
  text = statistic or f"slope of {_words(y)} for each doubling of {x}"
  log = np.log2(np.unique(gains[x]).astype(float))
  if len(log) < 2:
    return _nothing(f"{text} (fewer than two values of {x})")
  log -= log.mean()

  def per_seed(name: str) -> pd.Series:
    table = gains.pivot(index="seed", columns=x, values=name).dropna()
    return table @ log / (log @ log)

  return _over_seeds(per_seed, y, [gains], 1 / math.sqrt(log @ log), text)


def _nothing(statistic: str) -> Estimate:
  """Returns the estimate of what cannot be estimated, and why."""
  return Estimate(math.nan, math.nan, math.nan, 0, statistic)


def _words(y: str) -> str:
  return "the " + y.replace("_", " ")


def jackknife(
  function: Callable[[np.ndarray], float], values: np.ndarray, statistic: str
) -> Estimate:
  """Returns a number that all seeds have together, such as a variance.

  Its interval is Student's t with the standard error of the jackknife, which
  leaves out each seed in turn; of a mean it is that of the mean. There is no
  robust one.

  Args:
    function: smooth, of all seeds or of all but one.
    values: [S, ...], S seeds.
    statistic: what it is, in one line.
  """
  n = len(values)
  value = function(values)
  without = [function(np.delete(values, i, 0)) for i in range(n)]
  stderr = math.sqrt(n - 1) * float(np.std(without))
  half = float(special.stdtrit(n - 1, TAILS[1])) * stderr
  return Estimate(value, value - half, value + half, n, statistic)
