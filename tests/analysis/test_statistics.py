"""Statistics of runs, against numbers worked out by hand."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from analysis import selection
from analysis import statistics
from analysis import trends
from analysis import verdicts
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
  return selection.gains(pd.DataFrame(rows), group, metric, choose_by)


def test_each_seed_has_the_rho_that_the_others_chose():
  gains = _gains(SMALL + LARGE)
  # At size 100 seeds 0 and 2 leave .2 a validation accuracy of 85 for seed 1.
  assert list(gains["rho"]) == [0.1, 0.2, 0.1] + [0.2] * 3
  np.testing.assert_allclose(gains["gain"], [1, 18, 3, 10, 12, 14])
  np.testing.assert_allclose(gains["base"][:3], [70, 72, 74])
  assert list(gains["naive_rho"]) == [0.1] * 3 + [0.2] * 3
  np.testing.assert_allclose(gains["naive"], [1, 3, 3, 10, 12, 14])
  assert gains.attrs["num_dropped"] == 0

  small, large = statistics.summary(gains, ["size"]).to_dict("records")
  assert (small["n"], small["rho"]) == (3, 0.1)
  assert small["mean"] == pytest.approx(22 / 3)
  assert small["naive"] == pytest.approx(7 / 3)
  # Deviations from 12: -2, 0, 2; squared 8, over n (n - 1) 4/3.
  assert large["mean"] == pytest.approx(12)
  assert large["stderr"] == pytest.approx(2 / math.sqrt(3))
  assert large["high"] == pytest.approx(12 + T * 2 / math.sqrt(3), abs=1e-5)
  assert large["low"] + large["high"] == pytest.approx(24)
  assert 10 <= large["robust_low"] < 12 < large["robust_high"] <= 14
  assert large["sam"] == pytest.approx(82)
  assert large["sam_stderr"] == pytest.approx(2 / math.sqrt(3))


def test_a_choice_of_several_columns_is_made_on_both_sides():
  """The base has a decay of its own, and SAM a decay and a rho together."""
  rows = [
    row | {"decay": decay}
    for decay, base, sam in (
      (0.0, (70, 70), (80, 60)),
      (0.1, (71, 71), (1, 79)),
    )
    for rho, values in ((0.0, base), (0.2, sam), (0.1, (50, 50)))
    for row in _runs(1, rho, values)
  ]
  gains = selection.gains(
    pd.DataFrame(rows), ["size"], TEST, TEST, ["decay", "rho"]
  )
  # Seed 1 chooses (.1, .2) for seed 0, and seed 0 (0, .2) for seed 1.
  np.testing.assert_allclose(gains["sam"], [1, 60])
  np.testing.assert_allclose(gains["base"], [71, 71])
  # On average over both, 70, it is (0, .2).
  np.testing.assert_allclose(gains["naive"], [9, -11])


def test_a_choice_gains_nothing_where_there_is_nothing_to_gain():
  """Of rho that are all alike, the best on the same seeds looks better."""
  rng = np.random.default_rng(0)
  rows = [
    row
    for size in range(1, 201)
    for rho in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
    for row in _runs(size, rho, 70 + rng.standard_normal(5))
  ]
  gains = _gains(rows, choose_by=TEST)
  # The largest of 5 means of 5 numbers: 1.163 / sqrt(5) above the others.
  assert gains["naive"].mean() == pytest.approx(0.52, abs=0.1)
  # The standard error is sqrt(2 / 1,000).
  assert gains["gain"].mean() == pytest.approx(0, abs=0.1)


def test_estimates_over_seeds():
  gains = _gains(SMALL + LARGE)
  gains["gain"] = gains["naive"]
  slope = statistics.slope(gains, "size")  # 9, 9 and 11 for one doubling.
  assert slope.value == slope.naive == pytest.approx(29 / 3)
  assert slope.high - slope.value == pytest.approx(T * 2 / 3, abs=1e-5)
  assert slope.n == 3
  # Over the two sizes: 5.5, 7.5 and 8.5.
  assert statistics.mean_gain(gains).value == pytest.approx(21.5 / 3)
  large, small = gains[gains["size"] == 200], gains[gains["size"] == 100]
  assert statistics.difference(large, small).value == pytest.approx(29 / 3)
  assert statistics.difference(small, large).high == pytest.approx(-slope.low)
  # SAM's 80, 82, 84 less 71, 90, 77.
  sam = statistics.difference(large, small, "sam", "of SAM")
  assert sam.value == pytest.approx(8 / 3)
  assert math.isnan(sam.naive)
  assert sam.statistic == "of SAM"


def test_an_interval_is_not_narrower_than_the_steps_of_an_accuracy():
  """On 200 examples, three equal gains of 1 point are 1 +- t .5 / sqrt(18)."""
  rows = _runs(1, 0.0, (70, 70.5, 71)) + _runs(1, 0.1, (71, 71.5, 72))
  gain = statistics.mean_gain(_gains(rows))
  half = T * 0.5 / math.sqrt(6) / math.sqrt(3)
  assert gain.value == pytest.approx(1)
  assert gain.high - 1 == pytest.approx(half, abs=1e-5)
  assert verdicts.verdict(gain, above=0) == "holds"
  assert verdicts.verdict(gain, above=0.9) == "undecided"
  # Of a single value the step is not known.
  table = pd.DataFrame({"seed": [0, 1, 2], "accuracy": 100.0})
  same = statistics.mean(table, "accuracy")
  assert verdicts.verdict(same, above=95) == "undecided"
  same = statistics.mean(table, "accuracy", step=1)
  assert same.high - 100 == pytest.approx(T / 6, abs=1e-5)
  assert verdicts.verdict(same, above=95) == "holds"


def _recorded(shares):
  """Returns percents as runs record them, in float32."""
  return tuple(100 * float(np.float32(share)) for share in shares)


def test_equal_gains_of_recorded_accuracies_are_equal():
  """SAM is right for one more of 360 images, in each of ten seeds."""
  right = np.array([301, 306, 309, 311, 317, 318, 322, 329, 333, 341])
  rows = _runs(1, 0.0, _recorded(right / 360))
  rows += _runs(1, 0.1, _recorded((right + 1) / 360))
  gains = _gains(rows)
  assert np.ptp(gains["gain"]) > 0
  gain = statistics.mean_gain(gains)
  step = 100 / 360
  half = 2.262157 * step * math.sqrt(2 / 12) / math.sqrt(10)
  assert gain.high - gain.value == pytest.approx(half, rel=1e-3)
  assert gain.robust_low == gain.robust_high
  # The mean of gains of -1, 0 and 1 image is none.
  more = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, -1])
  rows = _runs(1, 0.0, _recorded(right / 360))
  rows += _runs(1, 0.1, _recorded((right + more) / 360))
  (row,) = statistics.summary(_gains(rows), ["size"]).to_dict("records")
  assert row["mean"] == pytest.approx(0, abs=1e-5)
  assert row["low"] == pytest.approx(-row["high"], abs=1e-5)


def test_of_equally_good_rho_the_smallest_is_chosen():
  """They are right for as many of 285 images, others in each seed."""
  rng = np.random.default_rng(0)
  for _ in range(50):
    right = rng.integers(250, 280, 10)
    others = right + rng.permutation([-2, -1, 0, 0, 0, 0, 0, 0, 1, 2])
    one, other = (_recorded(x / 285) for x in (right, others))
    frame = pd.DataFrame(_runs(1, 0.05, one) + _runs(1, 0.5, other))
    best = selection.optimal_rho(frame, ["size"], VALIDATION)
    assert list(best["rho"]) == [0.05]


def test_any_column_has_a_mean_and_a_slope():
  gains = _gains(SMALL + LARGE)
  mean = statistics.mean(gains, "base")  # 70, 71 and 72 over the two sizes.
  assert mean.value == pytest.approx(71)
  assert mean.high - mean.value == pytest.approx(T / math.sqrt(3), abs=1e-5)
  slope = statistics.slope(gains, "size", "base", "SGD")  # 0, -2 and -4.
  assert slope.value == pytest.approx(-2)
  assert (slope.statistic, slope.n) == ("SGD", 3)


def test_one_size_has_no_slope():
  gains = pd.DataFrame({"seed": [0, 1, 2], "size": 8, "gain": [1.0, 2.0, 3.0]})
  found = statistics.slope(gains, "size")
  assert (found.n, math.isnan(found.value)) == (0, True)
  assert found.statistic.endswith("(fewer than two values of size)")
  verdict = verdicts.verdict(found, above=0)
  assert verdict == "not tested: nothing to compare"


def test_the_same_runs_do_not_differ():
  gains = _gains(SMALL)
  found = statistics.difference(gains, gains.copy())
  assert (found.n, math.isnan(found.value)) == (0, True)
  assert "(of the same runs" in found.statistic
  verdict = verdicts.verdict(found, above=0)
  assert verdict == "not tested: nothing to compare"


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
  assert slope.value == pytest.approx(2)
  # The seeds agree, so its width is that of the steps: the least one is from
  # 10 + 2 log2(500) to 15 + 2 log2(3), and log2 of the sizes has a sum of
  # squares of 30.80.
  step = 5 - 2 * math.log2(500 / 3) + 10
  half = 3.182446 * step / math.sqrt(12 * 30.80 * 4)
  np.testing.assert_allclose(
    [slope.low, slope.high], [2 - half, 2 + half], 1e-4
  )


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
  assert set(gains["rho"]) == {0.1, 0.2}
  assert set(gains["naive_rho"]) == {0.1}
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
  ("best", "slope", "p"),
  [
    # Where the seeds' sizes are not in the same order, the best rho of all is
    # less of a trend.
    ((0.1, 0.2, 0.4, 0.8), 1, 0.03),
    ((0.8, 0.4, 0.2, 0.1), -1, 0.03),
    ((0.2, 0.2, 0.2, 0.2), 0, 1),
  ],
)
def test_trend_of_the_best_rho(best, slope, p):
  rows = [
    row
    for size, top in zip((10, 20, 40, 80), best, strict=True)
    for rho in (0.0, 0.1, 0.2, 0.4, 0.8)
    for row in _runs(
      size, rho, [60 - abs(math.log2(max(rho, 1e-9) / top)) / 2] * 3
    )
  ]
  trend = trends.rho_trend(pd.DataFrame(rows), "size", TEST)
  np.testing.assert_allclose(
    [trend.low, trend.value, trend.high], slope, atol=1e-12
  )
  assert trend.n == 3
  assert trend.p == pytest.approx(p, abs=0.01)


def test_the_range_of_a_trend_is_that_of_the_seeds():
  """Without seed 0, one resample in four, rho would not grow."""
  rows = _runs(10, 0.1, (61, 61)) + _runs(10, 0.2, (60, 60))
  rows += _runs(20, 0.1, (60, 61)) + _runs(20, 0.2, (69, 60))
  # The best of all, but a seed is missing.
  rows += _runs(10, 0.5, (99,)) + _runs(20, 0.05, (99,))
  trend = trends.rho_trend(pd.DataFrame(rows), "size", TEST)
  np.testing.assert_allclose(
    [trend.low, trend.value, trend.high], [0, 1, 1], atol=1e-12
  )
  # Of one size there are more seeds.
  more = _runs(10, 0.1, (0,) * 5)[2:] + _runs(10, 0.2, (99,) * 5)[2:]
  more = trends.rho_trend(pd.DataFrame(rows + more), "size", TEST)
  assert (more.value, more.low, more.n) == (trend.value, trend.low, trend.n)
  one_size = trends.rho_trend(pd.DataFrame(rows[:4]), "size", TEST)
  assert math.isnan(one_size.value)


def test_a_trend_by_chance_is_found_one_time_in_twenty():
  rng = np.random.default_rng(0)
  p = []
  for _ in range(200):
    rows = [
      row
      for size in (10, 20, 40)
      for rho in (0.1, 0.2, 0.4)
      for row in _runs(size, rho, rng.normal(70, 1, size=3))
    ]
    p.append(trends.rho_trend(pd.DataFrame(rows), "size", TEST).p)
  # Two standard errors of a share of 5 % are 3 %.
  assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_nothing_has_no_trend_of_ranks():
  index = pd.MultiIndex.from_arrays([[], []], names=["seed", "size"])
  trend = trends.rank_trend(pd.DataFrame({0.1: []}, index), "ranks")
  assert verdicts.verdict(trend, above=0) == "not tested: nothing to compare"


def test_trend_of_ranks():
  """Two rows in the order of their three columns: p = 2 / (3! 3!)."""
  index = pd.MultiIndex.from_product([[0, 1, 2], [7]], names=["seed", "size"])
  table = pd.DataFrame([[1, 2, 3], [4, 5, 9]], index[:2])
  trend = trends.rank_trend(table, "ranks")
  assert trend.value == trend.low == trend.high == pytest.approx(1)
  assert trend.n == 2
  assert trend.p == pytest.approx(2 / 36, abs=0.01)
  table = pd.DataFrame([[3, 2, 1]] * 3, index)
  trend = trends.rank_trend(table, "ranks")
  assert trend.p == pytest.approx(2 / 216, abs=0.005)
  assert verdicts.verdict(trend, at_most=0) == "holds"
  assert verdicts.verdict(trend, above=0) == "does not hold"


@pytest.mark.parametrize(
  ("low", "high", "claim", "verdict"),
  [
    (0.1, 0.9, {"above": 0}, "holds"),
    (-0.9, -0.1, {"above": 0}, "does not hold"),
    (-0.1, 0.9, {"above": 0}, "undecided"),
    # No width, no test.
    (0.5, 0.5, {"above": 0}, "undecided"),
    (0, 0, {"at_most": 0}, "undecided"),
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
  assert verdicts.verdict(estimate, **claim) == verdict


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


def test_skewed_seeds_are_undecided_where_the_intervals_disagree():
  """One seed in six is far off, and holds the whole mean."""
  table = pd.DataFrame({"seed": range(6), "y": [0.1, 0.1, 0.1, 0.1, 0.2, 0.2]})
  near = statistics.mean(table, "y")
  assert verdicts.verdict(near, above=0) == "holds"
  apart = dataclasses.replace(near, robust_low=-0.1)
  assert verdicts.verdict(apart, above=0) == "undecided"
  beyond = dataclasses.replace(near, robust_high=0.3)
  assert verdicts.verdict(beyond, at_most=0.05) == "does not hold"
  assert verdicts.verdict(beyond, at_most=0.25) == "undecided"
  far = statistics.mean(table.assign(y=[1.0, 1, 1, 1, 1, -19.0]), "y")
  # Student's interval is symmetric; the bootstrap knows where the tail is.
  assert far.high - far.value == pytest.approx(far.value - far.low)
  assert far.robust_high - far.value < far.value - far.robust_low


def test_one_or_two_seeds_test_nothing():
  for values in ((70,), (70, 71)):
    rows = _runs(1, 0.0, values) + _runs(1, 0.1, [v + 2 for v in values])
    gain = statistics.mean_gain(_gains(rows))
    assert gain.value == gain.naive == pytest.approx(2)
    record = verdicts.claim_record("grows", TEST, "Figure 7", gain, above=0)
    assert record["verdict"] == "not tested: fewer than 3 seeds"
    assert record["p"] is None
    assert record["n"] == len(values)
    assert (record["low"] is None) == (len(values) == 1)
    (corrected,) = verdicts.correct([record])
    assert corrected["p_holm"] is None
    assert not verdicts.survives(corrected)


def test_p_value_is_that_of_the_interval():
  """t = 2 with 2 degrees of freedom: two-sided p = 0.1835."""
  stderr = 0.5
  estimate = statistics.Estimate(1, 1 - T * stderr, 1 + T * stderr, 3, "")
  assert verdicts.p_value(estimate, above=0) == pytest.approx(0.1835, abs=1e-4)
  assert verdicts.p_value(estimate, at_most=2) == pytest.approx(
    0.1835, abs=1e-4
  )
  # Inside of a range the nearer limit counts; t = 1 gives 0.4226.
  both = verdicts.p_value(estimate, above=0.5, at_most=9)
  assert both == pytest.approx(0.4226, abs=1e-4)
  # At the end of the interval it is 0.05, outside as well.
  for limit in (estimate.low, estimate.high):
    assert verdicts.p_value(estimate, above=limit) == pytest.approx(0.05)
  # With too few seeds nothing is tested, whatever a permutation test says.
  few = statistics.Estimate(1, 0.5, 1.5, 2, "", p=0.25)
  assert math.isnan(verdicts.p_value(few, above=0))
  ratio = statistics.Estimate(
    math.e, math.exp(1 - T / 2), math.exp(1 + T / 2), 3, "", is_ratio=True
  )
  assert verdicts.p_value(ratio, above=1) == pytest.approx(0.1835, abs=1e-4)


def test_holm():
  """Sorted .01, .02, .03, times 3, 2, 1; never smaller than the one before."""
  corrected = verdicts.holm([0.03, math.nan, 0.01, 0.02])
  np.testing.assert_allclose(corrected, [0.04, math.nan, 0.03, 0.04])
  np.testing.assert_allclose(verdicts.holm([0.5, 0.9]), [1, 1])
  records = [{"verdict": "holds", "p": p} for p in (0.03, 0.04, 0.001)]
  found = verdicts.correct(records)
  assert [verdicts.survives(r) for r in found] == [False, False, True]


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
