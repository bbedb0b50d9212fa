"""Kinks, slopes and lines of functions drawn by hand."""

import numpy as np
import pytest

from theory import polylines


def test_kinks_of_both_directions():
  # |x| + 2 relu(x - 1): one neuron is on to the left of its kink. The fourth
  # has its kink outside, the fifth none.
  w1 = np.array([1.0, -1.0, 2.0, 1.0, 0.0])
  b1 = np.array([0.0, 0.0, -2.0, 5.0, 1.0])
  w2 = np.array([1.0, 1.0, 1.0, 3.0, 1.0])
  kinks, bends = polylines.find_kinks(w1, b1, w2, -2, 2)
  np.testing.assert_array_equal(kinks, [0, 1])
  np.testing.assert_array_equal(bends, [2, 2])


def test_bends_are_changes_of_the_slope():
  rng = np.random.default_rng(0)
  w1, b1, w2 = rng.normal(size=(3, 20))
  kinks, bends = polylines.find_kinks(w1, b1, w2, -1, 1)
  assert 5 < len(kinks) < 20
  corners = np.array([-1, *kinks, 1])
  values = np.maximum(np.outer(corners, w1) + b1, 0) @ w2
  slopes = np.diff(values) / np.diff(corners)
  np.testing.assert_allclose(np.diff(slopes), bends, atol=1e-9)


def test_neurons_that_cancel_bend_nothing():
  _, bends = polylines.find_kinks(
    np.array([1.0, -1.0]), np.zeros(2), np.array([1.0, -1.0]), -1, 1
  )
  np.testing.assert_array_equal(bends, [0])


@pytest.mark.parametrize(
  ("y", "error", "expected"),
  [
    ([0, 1, 2, 3, 4], 0.0, 1),
    ([0, 1, 2, 1, 0], 0.1, 2),
    # A line half-way up leaves 1/2 of a zigzag.
    ([0, 1, 0, 1, 0], 0.49, 4),
    ([0, 1, 0, 1, 0], 0.51, 1),
    ([0, 0, 0, 5, 5], 0.1, 3),
  ],
)
def test_fewest_lines(y, error, expected):
  x = np.arange(5.0)
  y = np.array(y, float)
  assert polylines.count_lines(x, y, error + 1e-9) == expected
  # Neither units nor a slope that is added change it.
  assert polylines.count_lines(x / 7, y + 3 * x, error + 1e-9) == expected
