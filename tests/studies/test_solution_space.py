"""The study of functions: what it measures of runs, and what it concludes."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import restored
from configs import base
from data import regression_1d
from studies import solution_space
import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Returns runs of SGD and SAM of one seed and of another, briefly trained."""
  folder = str(tmp_path_factory.mktemp("runs"))
  cell = solution_space.STUDY.cells("laptop")[1]
  config = cell.config.copy_and_resolve_references()
  config.num_train_steps = 40
  config.steps_per_call = config.snapshot_every_epochs = 10
  config.sweep.seed = (0, 1)
  train.train_and_evaluate(config, folder)
  return restored.load(folder)


def test_measure(runs):
  sgd, other, *_ = runs
  assert (sgd.config.seed, other.config.seed) == (0, 1)
  found = solution_space.STUDY.measure(sgd)
  json.dumps(found, allow_nan=False)
  assert not [name for name in found if name.startswith("plane")]

  outputs = sgd.setup.model.apply(
    {"params": sgd.weights["params"]}, solution_space.GRID[:, None], train=False
  )
  np.testing.assert_allclose(found["function"], outputs[:, 0], atol=1e-4)
  at = regression_1d.INPUTS
  function = np.interp(at, solution_space.GRID, found["function"])
  loss = np.mean((function - regression_1d.TARGETS) ** 2)
  assert found["training_loss"] == pytest.approx(loss, rel=0.02)
  assert 1 <= found["num_lines"] <= found["num_pieces"] <= 11
  assert found["distance"] > 0
  assert found["lambda_max"] > 0


def test_plane(runs):
  sgd, sam = runs[0], runs[4]
  assert (sgd.config.rho, sam.config.rho) == (0, 0.2)
  found = solution_space.STUDY.measure(sam)
  starts = [np.array(found[f"plane_{name}"])[0] for name in ("sgd", "sam")]
  np.testing.assert_allclose(starts[0], starts[1])
  # The plane has the start and both minima, so distances in it are real.
  for name, run in (("sgd", sgd), ("sam", sam)):
    path = np.array(found[f"plane_{name}"])
    assert len(path) == 3
    distance = solution_space.STUDY.measure(run)["distance"]
    assert np.linalg.norm(path[-1] - path[0]) == pytest.approx(distance, 1e-4)
    x, y = found["plane_x"], found["plane_y"]
    assert np.all((path > (x[0], y[0])) & (path < (x[-1], y[-1])))
  losses = np.array(found["plane_loss"])
  assert losses.shape == (len(found["plane_x"]), len(found["plane_y"]))
  # A grid point as a mixture of the start and both minima.
  objective = sam.objective()
  corners = [starts[0]] + [
    np.array(found[f"plane_{name}"])[-1] for name in ("sgd", "sam")
  ]
  weights = [run.objective().weights for run in (sgd.snapshots()[0], sgd, sam)]
  for i, j in ((0, 0), (20, 20), (3, 35)):
    at = np.array([found["plane_x"][i], found["plane_y"][j], 1])
    shares = np.linalg.solve(np.column_stack([corners, np.ones(3)]).T, at)
    w = sum(share * v for share, v in zip(shares, weights, strict=True))
    assert losses[i, j] == pytest.approx(float(objective.value(w)), 1e-3)


def _results(sam_variance, sam_values):
  """Returns made-up runs: what SAM has, where SGD has 1."""
  rng = np.random.default_rng(0)
  rows = []
  for neurons in ("5", "10", "100", "1000"):
    sides = [(0.0, 1.0, 1.0), (0.2, sam_variance, sam_values)]
    if neurons in ("5", "10"):
      sides.append((0.02, 1.1, 1.1))
    for seed in range(6):
      for rho, variance, value in sides:
        noise = np.exp(rng.normal(0, 0.05, 5))
        function = rng.normal(0, variance**0.5, len(solution_space.GRID))
        rows.append(
          {
            "status": "finished",
            "num_neurons": neurons,
            "seed": seed,
            "rho": rho,
            "function": function.tolist(),
            **dict(zip(solution_space.COMPARED, value * noise, strict=True)),
            "distance": noise[0] / value,
          }
        )
        if rho == 0.2 and seed == 0:
          rows[-1] |= {
            "plane_x": [0.0, 1.0, 2.0],
            "plane_y": [0.0, 1.0],
            "plane_loss": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            "plane_sgd": [[0.0, 0.0], [1.0, 1.0]],
            "plane_sam": [[0.0, 0.0], [2.0, 1.0]],
          }
  return pd.DataFrame(rows)


@pytest.mark.parametrize(
  ("variance", "value", "wide", "narrow"),
  [
    (0.1, 0.1, "holds", "does not hold"),
    (1.5, 1.5, "does not hold", "holds"),
    (5.0, 5.0, "does not hold", "does not hold"),
  ],
)
def test_claim(variance, value, wide, narrow):
  found = solution_space.claims(_results(variance, value))
  json.dumps(found, allow_nan=False)
  num_claims = 4 + 2 * len(solution_space.COMPARED)
  assert len(found) == num_claims + len(solution_space.EXPLAINED)
  for record in found[:num_claims]:
    is_wide = record["claim"].startswith("1")
    is_wide &= not record["claim"].startswith("10 ")
    assert record["verdict"] == (wide if is_wide else narrow), record
    assert record["low"] < record["value"] < record["high"]
    assert record["n"] == 6
  for record in found[num_claims:]:
    assert record["claim"].startswith("why: rho 0.02, 5 and 10 neurons")
    assert record["verdict"] == "holds"
    assert record["value"] == pytest.approx(1.1, rel=0.05)
  by_claim = {record["claim"]: record["value"] for record in found}
  pieces = "100 and 1,000 neurons: SAM's number of linear pieces is below SGD's"
  assert by_claim[pieces] == pytest.approx(value, rel=0.05)
  of_variance = "100 neurons: SAM's variance over seeds is below SGD's"
  assert by_claim[of_variance] == pytest.approx(variance, rel=0.2)


def test_a_seed_without_its_pair_is_left_out():
  results = _results(0.1, 0.1)
  is_lost = (results["seed"] == 2) & (results["rho"] > 0)
  results.loc[is_lost & (results["num_neurons"] == "100"), "status"] = (
    "diverged"
  )
  found = solution_space.claims(results)
  assert [record["n"] for record in found[:2]] == [6, 5]


@pytest.mark.parametrize("neurons", ["5", "1000"])
def test_one_width(neurons):
  """As `--shape` may choose it: nothing is claimed of the others."""
  results = _results(0.1, 0.1)
  runs = results[results["num_neurons"] == neurons]
  found = solution_space.claims(runs)
  words = f"{int(neurons):,} neurons: "
  assert all(words in record["claim"] for record in found)
  assert solution_space.figure(runs).axes


def test_figure():
  fig = solution_space.figure(_results(0.1, 0.1))
  titles = [ax.get_title("left") for ax in fig.axes]
  functions = [title for title in titles if "seed" not in title]
  assert functions == [f"{n} neurons" for n in ("5", "10", "100", "1,000")]
  assert len(titles) == len(functions) + len(solution_space.PLANES)
  for ax in fig.axes:
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_legend()


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_cells(preset):
  for cell in solution_space.STUDY.cells(preset):
    base.check(cell.config)
    num_snapshots = cell.config.num_train_steps / (
      2 * cell.config.snapshot_every_epochs
    )
    assert num_snapshots == 40
    assert len(cell.config.sweep.seed) == (10 if preset == "laptop" else 3)
