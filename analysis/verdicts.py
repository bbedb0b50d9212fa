"""Verdicts: whether a claim is borne out by an estimate over seeds."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np
from scipy import special

from analysis import statistics
from analysis.statistics import Estimate

# The least number of seeds whose spread is a measure of anything.
MIN_SEEDS = 3
HOLDS = "holds"
FAILS = "does not hold"
UNDECIDED = "undecided"
UNTESTED = "not tested"  # And why.


def verdict(
  estimate: Estimate, *, above: float = -math.inf, at_most: float = math.inf
) -> str:
  """Returns whether the claim above < statistic <= at_most is borne out.

  'holds' if both 95 % intervals, Student's and the robust one, lie in that
  range; 'does not hold' if both lie outside on the same side; else 'undecided'.
  An interval without width shows that the seeds cannot tell, so that it is
  undecided. An estimate with a p-value of its own is decided by that: it is for
  `above=0` or `at_most=0`. Fewer than `MIN_SEEDS` seeds test nothing; there are
  none where nothing could be estimated, as a slope of one size.

  Examples: `above=0` for "is positive"; `at_most=margin` for "does not grow",
  with the growth that is still called none; both for "is about 0".
  """
  if estimate.n < MIN_SEEDS:
    few = f"fewer than {MIN_SEEDS} seeds"
    return f"{UNTESTED}: {few if estimate.n else 'nothing to compare'}"
  if not math.isnan(estimate.p):
    intervals = [(estimate.value, estimate.value)]
    if estimate.p > 1 - statistics.CONFIDENCE:
      return UNDECIDED
  else:
    intervals = [(estimate.low, estimate.high)]
    if estimate.low == estimate.high:
      return UNDECIDED
    if not math.isnan(estimate.robust_low):
      intervals.append((estimate.robust_low, estimate.robust_high))
  if all(low > above and high <= at_most for low, high in intervals):
    return HOLDS
  for is_beyond in (
    lambda _, high: high <= above,
    lambda low, _: low > at_most,
  ):
    if all(is_beyond(*interval) for interval in intervals):
      return FAILS
  return UNDECIDED


def p_value(
  estimate: Estimate, *, above: float = -math.inf, at_most: float = math.inf
) -> float:
  """Returns the two-sided p-value of the claim above < statistic <= at_most.

  It is at most 0.05 just where Student's interval lies inside of the range, or
  outside on one side. NaN where there is no such interval, and with too few
  seeds for a verdict.
  """
  if estimate.n < MIN_SEEDS:
    return math.nan
  if not estimate.high > estimate.low:
    return estimate.p
  if not math.isnan(estimate.p):
    return estimate.p
  value, low, high = estimate.value, estimate.low, estimate.high
  if estimate.is_ratio:
    value, low, high, above, at_most = (
      math.log(number) if number > 0 else -math.inf
      for number in (value, low, high, above, at_most)
    )
  degrees = estimate.n - 1
  half = (high - low) / 2
  stderr = half / float(special.stdtrit(degrees, statistics.TAILS[1]))

  def tail(difference: float) -> float:
    return float(special.stdtr(degrees, -difference / stderr))

  over, under = value - above, at_most - value
  inside = max(tail(over), tail(under))
  outside = min(tail(-over), tail(-under))
  return min(1.0, 2 * inside, 2 * outside)


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns p-values corrected for their number, by Holm's step-down method.

  Those of all claims whose corrected value is at most 0.05 are true together
  with a probability of 95 %, however they depend on each other. NaN stays, and
  is not counted.

  Source: Holm (1979), A simple sequentially rejective multiple test procedure.
  """
  p = np.asarray(p_values, float)
  corrected = np.full(len(p), math.nan)
  order = np.argsort(p)[: np.sum(~np.isnan(p))]
  factors = np.arange(len(order), 0, -1)
  corrected[order] = np.maximum.accumulate(np.minimum(p[order] * factors, 1))
  return [float(value) for value in corrected]


def claim_record(
  text: str,
  metric: str,
  paper: str,
  estimate: Estimate,
  *,
  above: float = -math.inf,
  at_most: float = math.inf,
) -> dict[str, Any]:
  """Returns a claim and what was found, for JSON.

  Args:
    text: the claim, in words.
    metric: the metric it is about, by name.
    paper: what the paper says or shows, with the figure.
    estimate: what was measured.
    above: the claim is that the statistic is above this,
    at_most: and at most this.
  """
  limits = {"above": above, "at_most": at_most}
  found = dataclasses.asdict(estimate) | {"p": p_value(estimate, **limits)}
  del found["is_ratio"]
  return {
    "claim": text,
    "metric": metric,
    "paper": paper,
    "verdict": verdict(estimate, **limits),
    **{name: _none_if_nan(value) for name, value in found.items()},
  }


def _none_if_nan(value: Any) -> Any:
  return None if isinstance(value, float) and math.isnan(value) else value


def correct(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the claims of a study, each with 'p_holm', its corrected p-value.

  It is None where a claim was not tested.
  """
  p = [math.nan if r["p"] is None else r["p"] for r in records]
  return [
    record | {"p_holm": _none_if_nan(value)}
    for record, value in zip(records, holm(p), strict=True)
  ]


def survives(record: dict[str, Any]) -> bool:
  """Returns whether a verdict stays when a study's claims are many.

  Args:
    record: of `correct`.
  """
  decided = record["verdict"] in (HOLDS, FAILS)
  p = record["p_holm"]
  return decided and p is not None and p <= 1 - statistics.CONFIDENCE
