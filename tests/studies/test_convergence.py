"""The study of convergence: what it measures of a run."""

import numpy as np
import pytest

from analysis import restored
from studies import convergence
from theory import rates
import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Returns short runs of rank 4 and 10, of SGD and of SAM."""
  found = {}
  for cell in convergence.STUDY.cells("laptop")[:2]:
    folder = str(tmp_path_factory.mktemp("run"))
    config = cell.config.copy_and_resolve_references()
    config.num_epochs, config.eval_every_epochs = 6, 6
    config.sweep.seed = (0,)
    config.sweep.rho = (0.0, convergence.RHO)
    train.train_and_evaluate(config, folder)
    found[cell.labels["shape"]] = restored.load(folder)
  return found


def losses_of(run):
  """Returns the whole training loss at every snapshot, in float64."""
  split = run.setup.datasets[run.index].splits["train"]
  inputs, targets = split.inputs.astype(float), split.targets.astype(float)
  losses = []
  for snapshot in run.snapshots():
    params = snapshot.weights["params"]
    first, second = (params[k]["kernel"] for k in ("first", "second"))
    errors = inputs @ first.astype(float) @ second.astype(float) - targets
    losses.append(np.mean(np.sum(errors**2, -1)))
  return np.array(losses), targets


def test_measure(runs):
  run = runs["rank10"][1]
  found = convergence.STUDY.measure(run)
  losses, _ = losses_of(run)
  np.testing.assert_allclose(found["train_losses"], losses, rtol=1e-4)
  ends = (found["initial_train_loss"], found["train_loss"])
  assert ends == (found["train_losses"][0], found["train_losses"][-1])
  assert found["epochs"] == list(range(7))
  assert found["rate"] == pytest.approx(rates.rate(np.arange(7), losses), 1e-3)
  assert found["loss_floor"] == 0

  # The bound of 100 steps an epoch, from the constants it states.
  names = rates.Constants._fields
  constants = rates.Constants(*(found[name] for name in names))
  left = rates.contraction(constants, convergence.RHO, 10, 5e-4)
  assert left < 1
  bounds = losses[0] * left ** (100 * np.arange(7))
  np.testing.assert_allclose(found["bounds"], bounds, rtol=1e-3)
  margin = np.log2(bounds / losses)[1:].min()
  assert found["bound_margin"] == pytest.approx(margin, rel=1e-2)
  norms = [
    np.linalg.norm(s.objective().gradient(s.objective().weights))
    for s in run.snapshots()
  ]
  ratio = np.min(np.square(norms) / losses)
  assert found["pl_constant"] == pytest.approx(ratio, rel=1e-3)
  # There is no bound of SGD, whose rho is 0.
  assert "bounds" not in convergence.STUDY.measure(runs["rank10"][0])


def test_a_rank_that_cannot_fit_has_a_floor(runs):
  run = runs["rank4"][1]
  found = convergence.STUDY.measure(run)
  assert "bounds" not in found
  losses, targets = losses_of(run)
  values = np.linalg.eigvalsh(targets.T @ targets / len(targets))
  # Six of the ten are not 0; the two smallest of them are what is left.
  assert found["loss_floor"] == pytest.approx(values[4:6].sum())
  assert 0 < found["loss_floor"] < losses[-1]
  excess = rates.rate(np.arange(7), losses - found["loss_floor"])
  assert found["excess_rate"] == pytest.approx(excess, rel=1e-3)
