"""Statistics of runs, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis import statistics
from studies.kit import reference

TEST, VALIDATION = "final_test_accuracy", "final_validation_accuracy"


def _runs(size, rho, test, validation=(), status=(), **fields):
  """Returns one row a seed; accuracies in percent."""
  return [
    {
      "size": size,
      "rho": rho,
      "seed": seed,
      "status": status[seed] if status else "finished",
      TEST: value / 100,
      VALIDATION: (validation[seed] if validation else value) / 100,
      "final_test_loss": value,
      **fields,
    }
    for seed, value in enumerate(test)
  ]


# Size 100: both rho are as good on validation, so .1; gains 1, 3, 3.
SMALL = (
  _runs(100, 0.0, (70, 72, 74))
  + _runs(100, 0.2, (90, 90, 90), (90, 70, 80))
  + _runs(100, 0.1, (71, 75, 77), (80, 80, 80))
)
# Size 200: .2 is better on validation, though not on test; gains 10, 12, 14.
LARGE = (
  _runs(200, 0.0, (70, 70, 70))
  + _runs(200, 0.1, (95, 95, 95), (80, 80, 80))
  + _runs(200, 0.2, (80, 82, 84), (85, 85, 82))
)
T = 4.302653  # The 97.5 % quantile of Student's t with 2 degrees of freedom.


def _gains(rows, group=("size",), metric=TEST, choose_by=VALIDATION):
  return statistics.gains(pd.DataFrame(rows), group, metric, choose_by)


def test_gains_are_paired_at_the_rho_that_validation_chose():
  gains = _gains(SMALL + LARGE)
  assert list(gains["rho"]) == [0.1] * 3 + [0.2] * 3
  np.testing.assert_allclose(gains["gain"], [1, 3, 3, 10, 12, 14])
  np.testing.assert_allclose(gains["base"][:3], [70, 72, 74])
  assert gains.attrs["num_dropped"] == 0

  small, large = statistics.summary(gains, ["size"]).to_dict("records")
  assert small["n"] == 3
  assert small["rho"] == 0.1
  # Deviations from 7/3: -4/3, 2/3, 2/3; squared 24/9, over n (n - 1) 4/9.
  assert small["mean"] == pytest.approx(7 / 3)
  assert small["stderr"] == pytest.approx(2 / 3)
  assert small["low"] == pytest.approx(7 / 3 - T * 2 / 3, abs=1e-5)
  assert small["high"] == pytest.approx(7 / 3 + T * 2 / 3, abs=1e-5)
  assert large["sam"] == pytest.approx(82)
  assert large["sam_stderr"] == pytest.approx(2 / math.sqrt(3))


def test_estimates_over_seeds():
  gains = _gains(SMALL + LARGE)
  slope = statistics.slope(gains, "size")  # 9, 9 and 11 for one doubling.
  assert slope.value == pytest.approx(29 / 3)
  assert slope.high - slope.value == pytest.approx(T * 2 / 3, abs=1e-5)
  assert slope.n == 3
  # Over the two sizes: 5.5, 7.5 and 8.5.
  assert statistics.mean_gain(gains).value == pytest.approx(21.5 / 3)
  large, small = gains[gains["size"] == 200], gains[gains["size"] == 100]
  assert statistics.difference(large, small).value == pytest.approx(29 / 3)
  assert statistics.difference(small, large).high == pytest.approx(-slope.low)
  # SAM's 80, 82, 84 less 71, 75, 77.
  sam = statistics.difference(large, small, "sam", "of SAM")
  assert sam.value == pytest.approx(23 / 3)
  assert sam.statistic == "of SAM"


def test_any_column_has_a_mean_and_a_slope():
  gains = _gains(SMALL + LARGE)
  mean = statistics.mean(gains, "base")  # 70, 71 and 72 over the two sizes.
  assert mean.value == pytest.approx(71)
  assert mean.high - mean.value == pytest.approx(T / math.sqrt(3), abs=1e-5)
  slope = statistics.slope(gains, "size", "base", "SGD")  # 0, -2 and -4.
  assert slope.value == pytest.approx(-2)
  assert (slope.statistic, slope.n) == ("SGD", 3)


def test_slope_of_a_line_is_exact():
  rows = [
    {"seed": seed, "size": size, "gain": 5 * seed + 2 * math.log2(size)}
    for seed in range(4)
    for size in (3, 10, 11, 500)
  ]
  # A seed that lacks a size, with another slope, does not count.
  rows += [{"seed": 4, "size": s, "gain": -9 * s} for s in (3, 10, 11)]
  slope = statistics.slope(pd.DataFrame(rows), "size")
  assert slope.n == 4
  np.testing.assert_allclose([slope.low, slope.value, slope.high], 2)


def test_a_loss_gains_by_falling():
  rows = _runs(1, 0.0, (1.5, 1.4)) + _runs(1, 0.1, (1.2, 1.2))
  rows += _runs(1, 0.2, (1.3, 1.3))
  gains = _gains(rows, metric="final_test_loss", choose_by="final_test_loss")
  assert list(gains["rho"]) == [0.1, 0.1]
  np.testing.assert_allclose(gains["gain"], [0.3, 0.2])


def test_what_diverged_counts_as_missing():
  diverged = ("finished", "diverged", "finished")
  better = _runs(100, 0.3, (99, 99, 99), status=diverged)
  gains = _gains(SMALL + better)
  assert set(gains["rho"]) == {0.1}
  base = _runs(100, 0.0, (70, 72, 74), status=diverged)
  gains = _gains(base + SMALL[3:])
  np.testing.assert_allclose(gains["gain"], [1, 3])
  assert gains.attrs["num_dropped"] == 1
  only = _gains(_runs(100, 0.0, (70, 72, 74)) + better)
  assert only.empty
  assert only.attrs["num_dropped"] == 3


def test_base_runs_belong_to_every_value_of_what_only_sam_reads():
  rows = _runs(1, 0.0, (70, 71), microbatch_size=0)
  rows += _runs(1, 0.1, (72, 73), microbatch_size=16)
  rows += _runs(1, 0.1, (75, 76), microbatch_size=64)
  gains = _gains(rows, ("size", "microbatch_size"))
  np.testing.assert_allclose(gains["gain"], [2, 2, 5, 5])
  with pytest.raises(ValueError, match=r"size=1.*rho=0\.1, seed=0"):
    _gains(rows)


@pytest.mark.parametrize(
  ("best", "correlation"),
  [
    ((0.1, 0.2, 0.5), 1),
    ((0.5, 0.2, 0.1), -1),
    ((0.2, 0.2, 0.2), 0),
    # Ranks 1.5, 1.5, 3 against 1, 2, 3.
    ((0.1, 0.1, 0.2), 1.5 / math.sqrt(1.5 * 2)),
  ],
)
def test_trend_of_the_best_rho(best, correlation):
  rows = [
    row
    for size, top in zip((10, 20, 30), best, strict=True)
    for rho in (0.0, 0.1, 0.2, 0.5)
    for row in _runs(size, rho, [60 + (rho == top)] * 3)
  ]
  trend = statistics.rho_trend(pd.DataFrame(rows), "size", TEST)
  np.testing.assert_allclose(
    [trend.low, trend.value, trend.high], correlation, atol=1e-12
  )
  assert trend.n == 3


def test_the_interval_of_a_trend_is_that_of_the_seeds():
  """Without seed 0, one resample in four, rho would not grow."""
  rows = _runs(10, 0.1, (61, 61)) + _runs(10, 0.2, (60, 60))
  rows += _runs(20, 0.1, (60, 61)) + _runs(20, 0.2, (69, 60))
  # The best of all, but a seed is missing.
  rows += _runs(10, 0.5, (99,)) + _runs(20, 0.05, (99,))
  trend = statistics.rho_trend(pd.DataFrame(rows), "size", TEST)
  np.testing.assert_allclose([trend.low, trend.value, trend.high], [0, 1, 1])
  # Of one size there are more seeds.
  more = _runs(10, 0.1, (0,) * 5)[2:] + _runs(10, 0.2, (99,) * 5)[2:]
  assert statistics.rho_trend(pd.DataFrame(rows + more), "size", TEST) == trend
  one_size = statistics.rho_trend(pd.DataFrame(rows[:4]), "size", TEST)
  assert math.isnan(one_size.value)


@pytest.mark.parametrize(
  ("low", "high", "claim", "verdict"),
  [
    (0.1, 0.9, {"above": 0}, "holds"),
    (-0.9, -0.1, {"above": 0}, "does not hold"),
    (-0.1, 0.9, {"above": 0}, "undecided"),
    (0, 0, {"above": 0}, "does not hold"),
    (0, 0, {"at_most": 0}, "holds"),
    (-0.9, 0.2, {"at_most": 0.2}, "holds"),
    (0.3, 0.9, {"at_most": 0.2}, "does not hold"),
    (0.1, 0.9, {"at_most": 0.2}, "undecided"),
    (-0.1, 0.1, {"above": -0.2, "at_most": 0.2}, "holds"),
    (-0.9, 0.9, {"above": -0.2, "at_most": 0.2}, "undecided"),
    (-0.9, -0.3, {"above": -0.2, "at_most": 0.2}, "does not hold"),
    (math.nan, math.nan, {"above": 0}, "undecided"),
  ],
)
def test_verdict(low, high, claim, verdict):
  estimate = statistics.Estimate((low + high) / 2, low, high, 5, "")
  assert statistics.verdict(estimate, **claim) == verdict


def test_jackknife_of_a_mean_is_that_of_the_mean():
  found = statistics.jackknife(
    lambda x: float(np.mean(x)), np.array([1.0, 2.0, 6.0]), "mean"
  )
  # The variance is 7, so the standard error sqrt(7 / 3).
  assert found.value == 3
  assert found.high - 3 == pytest.approx(T * math.sqrt(7 / 3))
  assert found.low + found.high == pytest.approx(6)
  assert found.n == 3


def test_jackknife_covers_a_ratio_of_variances():
  rng = np.random.default_rng(0)

  def log_ratio(values_Sx2xK):
    a, b = values_Sx2xK.var(0, ddof=1).mean(-1)
    return float(np.log(b / a))

  scale = np.array([[[1.0], [2.0]]])
  num_covered = 0
  for _ in range(300):
    found = statistics.jackknife(
      log_ratio, scale * rng.normal(size=(10, 2, 5)), "log ratio"
    )
    num_covered += found.low < math.log(4) < found.high
  assert 0.92 < num_covered / 300 <= 0.99


def test_one_seed_has_no_interval():
  gain = statistics.mean_gain(
    _gains(_runs(1, 0.0, (70,)) + _runs(1, 0.1, (72,)))
  )
  assert gain.value == pytest.approx(2)
  found = statistics.verdict(gain, above=0)
  record = statistics.claim_record("grows", TEST, "Figure 7", gain, found)
  assert record["verdict"] == "undecided"
  assert record["low"] is None
  assert record["n"] == 1


def test_reference_has_the_gain_of_every_size():
  """The gains are the differences of the plotted accuracies."""
  noise = reference.gain("12", "resnet_cifar")
  assert sorted(set(noise["label_noise"])) == [0.25, 0.5, 0.75]
  np.testing.assert_allclose(
    noise["mean"], noise["sam"] - noise["base"], atol=0.011
  )
  width = reference.gain("7", "mlp_mnist")
  assert list(width["num_parameters"])[2] == 266_610
  assert list(width["stderr"])[2] == 0.061
  best = reference.optimal_rho("mlp_mnist")
  assert list(best["rho"]) == [0.02, 0.1, 0.2, 0.2, 0.2]
  with pytest.raises(KeyError, match="figure 99"):
    reference.load("99", "mlp_mnist")
