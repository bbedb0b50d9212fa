"""The study of signal and noise: its runs, and its claims on made-up ones."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from analysis import maps
from studies import benign_overfitting as study
from studies.kit import signal_noise
from theory import signal_noise as theory


def test_crossing():
  x = [1, 2, 4, 8]
  assert maps.crossing(x, [0.5, 0.3, 0.1, 0.0], 0.2) == pytest.approx(3)
  # It is where the values stay below.
  assert maps.crossing(x, [0.1, 0.3, 0.1, 0.0], 0.2) == pytest.approx(3)
  assert math.isnan(maps.crossing(x, [0.1, 0.1, 0.1, 0.0], 0.2))
  assert math.isnan(maps.crossing(x, [0.5, 0.3, 0.1, 0.3], 0.2))


@pytest.mark.parametrize("preset", ["laptop", "paper"])
def test_cells(preset):
  cells = study.STUDY.cells(preset)
  assert len({cell.name for cell in cells}) == len(cells)
  grid = [cell for cell in cells if cell.labels["part"] == "map"]
  assert len(grid) == {"laptop": 20, "paper": 100}[preset]
  assert {len(cell.settings["norms"]) for cell in grid} == {len(grid)}
  json.dumps([dict(cell.settings) for cell in cells])


def test_runs_are_those_of_the_theory():
  """Mapped over all axes, as each alone; SAM ends before GD that follows."""
  part = signal_noise.Part(
    "course",
    [50],
    [2.0, 3.0],
    ("GD", study.SAM),
    (0.1, 0.5),
    10,
    then_gd=50,
    num_seeds=2,
  )
  (cell,) = part.cells()
  rows = signal_noise.compute(cell)
  assert len(rows) == cell.num_runs == 16
  start = theory.draw(
    np.random.default_rng([1, 50]),
    dim=50,
    num_train=20,
    num_filters=10,
    noise_scale=1.0,
    num_test=1000,
  )
  weights = jnp.asarray(theory.batch_weights(20, 10, 150))
  taus = jnp.where(jnp.arange(300) < 200, 0.03, 0)
  setting = theory.Setting(3.0, 1, 0.5, 0.1, taus, weights)
  filters, trace = jax.jit(theory.train)(start, setting)
  (row,) = (
    r
    for r in rows
    if (r["seed"], r["signal_norm"], r["method"], r["learning_rate"])
    == (1, 3.0, study.SAM, 0.1)
  )
  error = theory.test_error(filters, start, setting)
  assert row["test_error"] == pytest.approx(float(error), abs=2e-3)
  np.testing.assert_allclose(row["course_loss"], trace.loss_T, rtol=2e-3)
  own = np.array([-1, 1])[:, None] == np.asarray(start.signs_N)
  noise = np.asarray(trace.noise_TxJxMxN).mean(2)[:, own].mean(1)
  np.testing.assert_allclose(row["course_noise"], noise, atol=2e-3)


def _results(sign):
  """Returns runs whose test error falls at a norm that depends on the claim."""
  rows = []
  for part in study.presets["laptop"]:
    for cell in part.cells():
      s = cell.settings
      grid = [
        (seed, norm, method, rate)
        for seed in range(3)
        for norm in s["norms"]
        for method in s["taus"]
        for rate in s["learning_rates"]
      ]
      for seed, norm, method, rate in grid:
        tau = s["taus"][method]
        border = 2 * (s["dim"] / 1000) ** 0.25 * (1 + 0.02 * seed)
        border /= (1 + 20 * tau) ** sign * (1.3 + 0.15 * math.log10(rate))
        if method == study.THEORY:
          border = 0.8 * (s["dim"] / 1000) ** (0.001 * seed)
        rows.append(
          {
            "part": part.name,
            "seed": seed,
            "num_dimensions": s["dim"],
            "signal_norm": norm,
            "method": method,
            "tau": tau,
            "learning_rate": rate,
            "test_error": 0.5 / (1 + (norm / border) ** 4),
            "train_loss": (0.01 if sign == 1 else 0.1) + 0.001 * seed,
            "switched_off": (0.95 if sign == 1 else 0.1) + 0.01 * seed,
            "course_loss": [1.0, 0.1],
            "course_signal": [0.0, 1 + sign * tau + 0.001 * seed],
            "course_noise": [0.0, 1.0],
          }
        )
  return pd.DataFrame(rows)


def test_claims_and_figure():
  results = _results(1)
  found = study.claims(results)
  json.dumps(found, allow_nan=False)
  assert {record["verdict"] for record in found} == {"holds"}
  for ax in study.figure(results).axes:
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_legend()
  exponents = [r["value"] for r in found if r["metric"] == "exponent"]
  np.testing.assert_allclose(exponents, [0.25, 0.25, 0], atol=0.01)

  false = {r["claim"]: r["verdict"] for r in study.claims(_results(-1))}
  # Neither borders nor learning rates have to do with the tau of GD and SAM.
  others = ("d^(1/4)", "Condition 3.1", "border does", "than at 0.01", "at the")
  assert {verdict for verdict in false.values()} == {"holds", "does not hold"}
  for text, verdict in false.items():
    is_other = any(part in text for part in others) and "switches" not in text
    assert (verdict == "holds") == is_other, text
