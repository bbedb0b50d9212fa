"""The study of the perturbation: what it measures, and its logarithms."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis import restored
from studies import perturbation_size
import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Returns a small run of SAM, briefly trained."""
  folder = str(tmp_path_factory.mktemp("run"))
  config = perturbation_size.STUDY.cells("laptop")[0].config
  config = config.copy_and_resolve_references()
  config.num_epochs, config.snapshot_every_epochs = 4, 1
  config.sweep.seed, config.sweep.rho = (0,), (0.1,)
  train.train_and_evaluate(config, folder)
  return restored.load(folder)[0]


def test_measure(run, monkeypatch):
  snapshots = run.snapshots()
  objectives = [snapshot.objective() for snapshot in snapshots]
  losses = [float(o.value(o.weights)) for o in objectives]
  assert losses == sorted(losses, reverse=True)
  found = perturbation_size.STUDY.measure(run)
  assert "equal_change" not in found

  between = (losses[2] + losses[3]) / 2
  monkeypatch.setattr(perturbation_size, "label_entropy", lambda rate: between)
  found = perturbation_size.STUDY.measure(run)
  for stage, i in {"start": 0, "half": 2, "end": 4, "equal": 3}.items():
    objective = objectives[i]
    norm = np.linalg.norm(objective.weights)
    assert found[f"{stage}_perturbation"] == pytest.approx(0.1 / norm)
    assert found[f"{stage}_loss"] == pytest.approx(losses[i])
    changes = []
    for batch in objective.microbatches(128):
      w = batch.weights
      plain = batch.gradient(w)
      sam = batch.gradient(w + 0.1 * plain / np.linalg.norm(plain))
      changes.append(np.linalg.norm(sam - plain) / np.linalg.norm(plain))
    assert len(changes) == 9
    assert found[f"{stage}_change"] == pytest.approx(np.mean(changes), rel=1e-4)


def test_label_entropy_is_the_loss_of_who_knows_only_the_clean_labels():
  assert perturbation_size.label_entropy(0.0) == 0
  assert perturbation_size.label_entropy(1.0) == pytest.approx(math.log(9))
  assert perturbation_size.label_entropy(0.9) == pytest.approx(math.log(10))
  p = np.array([0.75, *9 * [0.25 / 9]])
  expected = -np.sum(p * np.log(p))
  assert perturbation_size.label_entropy(0.25) == pytest.approx(expected)


def test_logarithms():
  rows = [
    {
      "seed": seed,
      "num_parameters": size,
      "rho": rho,
      "status": "finished",
      # A power law, but for a rho that does not count.
      "start_change": size * rho**2 if rho < 1 else 9.0,
      "start_perturbation": rho,
      "equal_change": math.nan if rho == 0.2 else 1.0,
      "equal_perturbation": math.nan if rho == 0.2 else 1.0,
    }
    for seed in (0, 1)
    for size in (4, 16)
    for rho in (0.05, 0.1, 0.2, 1.0)
  ]
  table = perturbation_size.logarithms(pd.DataFrame(rows))
  assert len(table) == 4
  mean = np.log2(table["num_parameters"]) + 2 * np.log2(0.1)
  np.testing.assert_allclose(table["start_change"], mean)
  np.testing.assert_allclose(table["start_perturbation"], np.log2(0.1))
  at = np.log2(0.5 / np.sqrt(table["num_parameters"]))
  np.testing.assert_allclose(table["start_rho"], at)
  assert table["equal_change"].isna().all()
