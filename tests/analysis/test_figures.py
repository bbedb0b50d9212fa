"""Panels show what they are given, also where it is 0, negative or NaN."""

import warnings

from matplotlib import colors as mpl_colors
import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis import figures
from analysis import landscapes


@pytest.fixture
def ax(tmp_path):
  """Returns a panel, and draws what the test has put there."""
  figure, (ax,) = figures.create(1, ["title"])
  yield ax
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    figures.save(figure, tmp_path)
  assert (tmp_path / "figure.png").stat().st_size > 1000


def _line(ax, label):
  (found,) = [line for line in ax.lines if line.get_label() == label]
  return found


def _is_inside(value, limits):
  return limits[0] < value < limits[1]


def test_by_rho_where_all_of_sam_diverged(ax):
  runs = pd.DataFrame({"num_parameters": 8, "rho": [0.0, 0.1], "x_loss": 1.0})
  curves.by_rho(ax, runs.assign(status=["finished", "diverged"]), "x_loss")
  assert ax.get_xlabel() == "rho"


def test_spectrum(ax):
  grid = np.linspace(-1, 12, 400)

  def bump(center, mass):
    return mass * np.exp(-0.5 * ((grid - center) / 0.1) ** 2)

  density = bump(0, 1) + bump(10, 1e-4) + 1e-30
  landscapes.spectrum(
    ax, grid, density, 0.1 * density, [10, 9.0, -0.5], label="a"
  )
  assert ax.get_yscale() == "log"
  # The small peak is visible; what is between is not.
  low, high = ax.get_ylim()
  assert 1e-7 < low < 0.2e-4
  assert 1 < high < 10
  marks = [line for line in ax.lines if line.get_marker() == "^"]
  np.testing.assert_array_equal(marks[0].get_xdata(), [10, 9, -0.5])
  assert any(set(line.get_xdata()) == {0} for line in ax.lines)

  # Another one, with lower densities, hides nothing of the first.
  landscapes.spectrum(
    ax, grid, 1e-2 * density, None, label="b", color="k", linear_within=0.1
  )
  assert ax.get_ylim()[0] < 0.2e-6
  assert ax.get_ylim()[1] == high
  assert ax.get_xscale() == "symlog"
  figures.legend(ax)
  assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_spectrum_of_zero_width(ax):
  landscapes.spectrum(ax, [0, 1, 2], [0.0, 3.0, 0.0], [0.0, 4.0, 0.0])
  assert _is_inside(3, ax.get_ylim())
  assert ax.get_ylim()[0] > 0


def test_landscape_line(ax):
  x = np.linspace(-1, 1, 5)
  sam = np.array([[9, 1, 0.001, 1, 9], [7, 3, 0.003, 3, 7]])
  landscapes.line(ax, x, {"SGD": x**2 + 0.1, "SAM": sam})
  np.testing.assert_allclose(_line(ax, "SAM").get_ydata(), [8, 2, 0.002, 2, 8])
  assert _line(ax, "SAM").get_color() == figures.SAM
  assert _line(ax, "SGD").get_color() == figures.BASE
  assert ax.get_yscale() == "log"  # From 0.002 to 8.
  assert ax.get_ylim()[0] < 0.002


def test_landscape_line_that_is_flat_or_infinite(ax):
  landscapes.line(ax, [0, 1, 2], {"a": np.array([0.0, 2.0, np.inf])})
  assert ax.get_yscale() == "linear"


def test_landscape_plane(ax):
  a, b = np.linspace(-1, 1, 21), np.linspace(-3, 3, 7)
  losses = 10.0 ** (2 * a[:, None] + 0 * b[None])
  path = np.array([[-0.5, -2], [0, 0], [0.5, 2]])
  landscapes.plane(
    ax,
    a,
    b,
    losses,
    points={"SGD": path[:1], "SAM": path[1]},
    trajectories={"SGD": [path, -path], "SAM": [path / 2]},
    names=("u", "v"),
  )
  # The loss grows along x alone: its contours are upright lines.
  contour = ax.collections[1]
  assert len(contour.levels) >= 7
  exponents = np.log10(contour.levels)
  assert exponents[0] == -2
  assert exponents[-1] == 2
  for level, drawn in zip(contour.levels, contour.get_paths(), strict=True):
    if len(drawn.vertices):
      where = drawn.vertices[:, 0]
      np.testing.assert_allclose(where, where[0])
      np.testing.assert_allclose(where[0], np.log10(level) / 2, atol=0.05)
  (bar,) = ax.child_axes
  np.testing.assert_allclose(bar.get_yticks(), contour.levels)
  assert ax.get_xlabel() == "u"
  figures.legend(ax)
  labels = [text.get_text() for text in ax.get_legend().get_texts()]
  assert labels == ["SGD", "SAM", "SGD", "SAM"]


@pytest.mark.parametrize(
  "losses",
  [
    np.full((3, 4), 2.5),
    np.zeros((3, 4)),
    np.array([[0, 1e-30, 1e5, np.nan]] * 3),
    np.full((3, 4), np.inf),
  ],
)
def test_landscape_plane_of_nearly_nothing(ax, losses):
  landscapes.plane(ax, np.arange(3.0), np.arange(4.0), losses)


@pytest.mark.parametrize(
  ("losses", "expected"),
  [
    ([2.0, 2.5, 3.0], [2, 2.2, 2.4, 2.6, 2.8, 3]),
    ([0.1, 2.0], [0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2]),
    ([0.0, 0.01, 1.0], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]),
    ([0.012, 90.0], [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]),
    ([2e-3, 3e4], 10.0 ** np.arange(-3, 6)),
    ([3.0, 3.0], [2.7, 3.3]),
    ([0.0, 0.0], [0.5, 1.0]),
    ([], [0.5, 1.0]),
  ],
)
def test_loss_levels(losses, expected):
  np.testing.assert_allclose(landscapes.loss_levels(np.array(losses)), expected)


def test_loss_curves(ax):
  epochs = np.arange(1, 9)
  mean = 0.5**epochs
  curves.losses(
    ax,
    epochs,
    {10: (mean, 2 * mean), 1000: (mean**2, None)},
    bounds={10: 0.8**epochs},
    base=2,
  )
  assert ax.get_yscale() == "log"
  np.testing.assert_allclose(_line(ax, "10").get_ydata(), mean)
  bound = _line(ax, "10, bound")
  assert bound.get_linestyle() == "--"
  assert bound.get_color() == _line(ax, "10").get_color()
  assert _line(ax, "1k").get_color() != bound.get_color()
  # A band that reaches below 0 does not move the axis.
  assert ax.get_ylim()[0] == pytest.approx(mean[-1] ** 2 / 1.5)


def test_pair_has_its_colours(ax):
  curves.losses(ax, [0, 1], {"SAM": ([2, 1], None), "SGD": ([3, 1], None)})
  assert mpl_colors.same_color(_line(ax, "SAM").get_color(), figures.SAM)
  assert mpl_colors.same_color(_line(ax, "SGD").get_color(), figures.BASE)
