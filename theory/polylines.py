"""Functions of one variable that are linear between kinks."""

import numpy as np


def find_kinks(
  w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns where w2 relu(w1 x + b1) has kinks, and its changes of slope there.

  Both ascend in x, [K]. Kinks of several neurons at one place are one.

  Args:
    w1: weights of the hidden layer, [N].
    b1: its biases, [N].
    w2: weights of the output, [N].
    low: kinks are wanted above this.
    high: and below this.
  """
  w1, b1, w2 = (x[w1 != 0] for x in (w1, b1, w2))
  at = -b1 / w1
  inside = (at > low) & (at < high)
  kinks, which = np.unique(at[inside], return_inverse=True)
  # A neuron that is on to the left of its kink is switched off there.
  bends = np.zeros(len(kinks))
  np.add.at(bends, which, (w2 * np.abs(w1))[inside])
  return kinks, bends


def count_lines(x: np.ndarray, y: np.ndarray, error: float) -> int:
  """Returns the fewest straight lines within `error` of a polygonal line.

  Each leads from one corner to another, where the next need not meet it. To
  take every line as far as it goes is optimal.

  Args:
    x: of the corners, ascending, [K], K >= 2.
    y: of the corners, [K].
    error: largest distance in y.
  """
  count, start = 0, 0
  while start < len(x) - 1:
    # One that is possible to a corner is possible to all before it.
    low, high = start + 1, len(x) - 1
    while low < high:
      middle = (low + high + 1) // 2
      part = slice(start, middle + 1)
      if _line_error(x[part], y[part]) <= error:
        low = middle
      else:
        high = middle - 1
    count, start = count + 1, low
  return count


def _line_error(x: np.ndarray, y: np.ndarray) -> float:
  """Returns the largest distance in y from the nearest straight line."""
  slopes = np.diff(y) / np.diff(x)
  low, high = slopes.min(), slopes.max()
  # What is left without a slope is a convex function of it.
  for _ in range(60):
    third = (high - low) / 3
    a, b = (np.ptp(y - slope * x) for slope in (low + third, high - third))
    low, high = (low, high - third) if a < b else (low + third, high)
  return float(np.ptp(y - (low + high) / 2 * x)) / 2
