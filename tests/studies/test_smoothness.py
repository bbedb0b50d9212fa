"""The study of smoothness: over which steps it averages."""

import numpy as np
import pytest

from analysis import restored
from studies import smoothness
import train


def test_measure(tmp_path):
  config = smoothness.STUDY.cells("laptop")[
    0
  ].config.copy_and_resolve_references()
  config.num_epochs = 20
  config.sweep.seed = (0,)
  train.train_and_evaluate(config, str(tmp_path))
  (run,) = restored.load(tmp_path)
  found = smoothness.STUDY.measure(run)
  assert found["epochs"] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20]

  objective = run.objective()
  weights = [
    np.array(objective.flatten(s.weights["params"])) for s in run.snapshots()
  ]
  losses, betas, alphas = [], [], []
  for w, w_next in ((weights[18], weights[19]), (weights[19], weights[20])):
    losses.append(float(objective.value(w_next)))
    points = [w + t / 10 * (w_next - w) for t in range(11)]
    values, gradients = zip(
      *map(objective.value_and_gradient, points), strict=True
    )
    distances = np.linalg.norm(np.array(points) - w, axis=1)
    gradients = np.array(gradients)
    changes = np.linalg.norm(gradients - gradients[0], axis=1)
    squares = np.linalg.norm(gradients, axis=1) ** 2
    betas.append(max(changes[1:] / distances[1:]))
    alphas.append(min(squares[1:] / np.array(values[1:])))
  assert found["late_smoothness"] == pytest.approx(np.mean(betas), rel=1e-3)
  assert found["late_pl_constant"] == pytest.approx(np.mean(alphas), rel=1e-3)
  ratio = np.mean(np.array(alphas) / losses)
  assert found["late_pl_constant_over_loss"] == pytest.approx(ratio, rel=1e-3)
  assert found["smoothness"][-2:] == pytest.approx(betas, rel=1e-3)
