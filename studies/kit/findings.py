"""Findings: claims that several studies make, and what was found of them."""

import dataclasses
import math
from typing import Any

import pandas as pd

from analysis import captions
from analysis import statistics
from analysis import verdicts
from studies.kit import conditions
from studies.kit import reference
from studies.kit import workloads
from studies.kit.conditions import SIZE

# A claim and what was found, for claim.json; see `verdicts.claim_record`.
Finding = dict[str, Any]

# "The gain does not grow" where something is missing: its slope is at most this
# share of the slope where that is there, or 0. Seeds cannot tell no growth at
# all from a little. (In the paper's Figures 16a and 7 the share is -0.15.)
NO_GROWTH = 0.5


def within(
  text: str,
  metric: str,
  paper: str,
  estimate: statistics.Estimate,
  *,
  above: float = -math.inf,
  at_most: float = math.inf,
) -> Finding:
  """Returns the finding that above < statistic <= at_most.

  Args:
    text: the claim, in words.
    metric: the metric it is about, by name.
    paper: what the paper says or shows, with the figure.
    estimate: the statistic, as it was measured.
    above: lower limit.
    at_most: upper limit.
  """
  return verdicts.claim_record(
    text, metric, paper, estimate, above=above, at_most=at_most
  )


def positive(
  text: str, metric: str, paper: str, estimate: statistics.Estimate
) -> Finding:
  """Returns the finding that a statistic is positive."""
  return within(text, metric, paper, estimate, above=0)


def negative(
  text: str, metric: str, paper: str, estimate: statistics.Estimate
) -> Finding:
  """Returns the finding that a statistic is negative, or 0."""
  return within(text, metric, paper, estimate, at_most=0)


def grows(
  title: str, metric: str, paper: str, gains: pd.DataFrame, x: str = SIZE
) -> Finding:
  """Returns the finding that the gain grows with `x`."""
  text = f"{title}: the gain grows with the {captions.words(x)}"
  return positive(text, metric, paper, statistics.slope(gains, x))


def does_not_grow(
  text: str,
  metric: str,
  paper: str,
  without: pd.DataFrame,
  having: pd.DataFrame | None,
) -> Finding:
  """Returns the finding that the gain does not grow.

  Args:
    text: the claim, in words.
    metric: of the gains.
    paper: what the paper found.
    without: the gains that do not grow, as is claimed.
    having: those with which they are compared; see `NO_GROWTH`. None: they must
      not grow at all.
  """
  estimate = statistics.slope(without, SIZE)
  margin = 0.0
  if having is not None:
    margin = NO_GROWTH * max(0.0, statistics.slope(having, SIZE).value)
  statistic = f"{estimate.statistic}; none if at most {margin:.2g}"
  estimate = dataclasses.replace(estimate, statistic=statistic)
  return within(text, metric, paper, estimate, at_most=margin)


def growth(results: pd.DataFrame, figure: str) -> list[Finding]:
  """Returns the findings that the gain grows with the parameters.

  Of ViTs `no_growth_without_bias` claims the opposite.

  Args:
    results: the table.
    figure: number of the paper's.
  """
  return [
    grows(
      c.title, metric, reference.quote_gain(figure, c.workload), c.gains(metric)
    )
    for c, metric in conditions.with_metrics(results)
    if not workloads.TABLE[c.workload].with_bias
  ]


def no_growth_without_bias(results: pd.DataFrame) -> list[Finding]:
  """Returns the findings that the gain of ViTs does not grow: Figure 5e.

  It is compared with that of ResNets on the same images with the same label
  noise, if the table has them; else it must not grow at all.
  """
  findings = []
  cases = conditions.with_metrics(results)
  for c, metric in cases:
    with_bias = workloads.TABLE[c.workload].with_bias
    if not with_bias:
      continue
    text = f"{c.title}: without inductive bias the gain does not grow"
    having = None
    same = with_bias, c.label_noise, metric
    for other, its_metric in cases:
      if (other.workload, other.label_noise, its_metric) == same:
        text += f" as that of {workloads.TABLE[with_bias].title}"
        having = other.gains(metric)
    paper = reference.quote_gain("7", c.workload)
    findings.append(does_not_grow(text, metric, paper, c.gains(metric), having))
  return findings


def fits_less(text: str, some: pd.DataFrame, others: pd.DataFrame) -> Finding:
  """Returns the finding that SGD fits training labels less.

  It explains where SAM gains less: SGD has learned fewer wrong labels.

  Args:
    text: the claim, in words.
    some: gains in `conditions.FIT` where SGD is said to fit less.
    others: gains in `conditions.FIT` of what is compared.
  """
  more = statistics.difference(
    some,
    others,
    "base",
    "difference of SGD's accuracy, paired over seeds",
  )
  return negative(text, conditions.FIT, "not reported", more)
