"""Losses against hand-worked numbers."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from training import losses


class Identity(nn.Module):
  """Its outputs are its inputs."""

  @nn.compact
  def __call__(self, inputs, train=True):
    return inputs


class Task:
  def __init__(self, num_classes, num_outputs, labels_per_example):
    self.num_classes = num_classes
    self.num_outputs = num_outputs
    self.labels_per_example = labels_per_example


def _values(
  outputs, targets, num_classes, train=True, labels_per_example=None, **fields
):
  c = helpers.config(**fields)
  task = Task(num_classes, len(outputs[0]), labels_per_example)
  loss_fn = losses.create(c, Identity(), task, train=train)
  batch = {"inputs": jnp.array(outputs), "targets": jnp.array(targets)}
  loss, aux = loss_fn({}, {}, batch, jax.random.key(0))
  assert float(loss) == pytest.approx(np.mean(aux["per_example"]["loss"]))
  return aux["per_example"]


LOGITS = [[np.log(2.0), 0.0, 0.0], [0.0, 0.0, np.log(8.0)]]  # p: 1/2, 8/10.


def test_cross_entropy():
  got = _values(LOGITS, [0, 0], 3)
  np.testing.assert_allclose(got["loss"], np.log([2, 10]), rtol=1e-6)
  np.testing.assert_allclose(got["accuracy"], [1, 0])


def test_label_smoothing_in_training_only():
  # Targets (.8, .1, .1): -(.8 ln 1/2 + .2 ln 1/4) = 1.2 ln 2.
  got = _values(LOGITS[:1], [0], 3, label_smoothing=0.3)
  np.testing.assert_allclose(got["loss"], 1.2 * np.log(2), rtol=1e-6)
  got = _values(LOGITS[:1], [0], 3, label_smoothing=0.3, train=False)
  np.testing.assert_allclose(got["loss"], np.log(2), rtol=1e-6)


def test_squared_error_against_one_hot_labels():
  got = _values([[0.5, 2.0], [1.0, 3.0]], [1, 0], 2, loss="squared_error")
  np.testing.assert_allclose(got["loss"], [0.25 + 1, 0 + 9])
  np.testing.assert_allclose(got["accuracy"], [1, 0])


def test_lazy_targets_are_divided_by_alpha():
  fields = {"loss": "squared_error", "lazy_alpha": 4.0}
  # Targets (.2, .05) after smoothing, (.25, 0) without.
  got = _values([[0.5, 0.0]], [0], 2, label_smoothing=0.4, **fields)
  np.testing.assert_allclose(got["loss"], [0.3**2 + 0.05**2], rtol=1e-6)
  got = _values([[0.5, 0.0]], [0], 2, False, label_smoothing=0.4, **fields)
  np.testing.assert_allclose(got["loss"], [0.25**2])
  np.testing.assert_allclose(got["accuracy"], [1])


GRAPHS = {
  "dataset": "motifs",
  "model": "gcn",
  "loss": "binary_cross_entropy",
  "labels_per_example": 2.0,
}


def test_binary_cross_entropy_leaves_missing_labels_out():
  # Probabilities of label 1: 3/4, 3/4, 1/5.
  logits = [[np.log(3), np.log(3), -np.log(4)]]
  got = _values(logits, [[1, -1, 1]], 2, **GRAPHS)
  np.testing.assert_allclose(got["loss"], [np.log(4 / 3 * 5) / 2], rtol=1e-6)
  np.testing.assert_allclose(got["accuracy"], [1 / 2])
  np.testing.assert_allclose(got["weight"], [2 / 2])
  got = _values(logits, [[-1, 0, 0]], 2, **GRAPHS)
  np.testing.assert_allclose(got["loss"], [np.log(4 * 5 / 4) / 2], rtol=1e-6)
  got = _values(logits, [[-1, -1, -1]], 2, **GRAPHS)
  assert [float(got[name][0]) for name in got] == [0, 0, 0]


def test_smoothed_binary_labels():
  # The target is .9 for label 1: -(.9 ln 3/4 + .1 ln 1/4).
  logits, smoothed = [[np.log(3)]], {**GRAPHS, "label_smoothing": 0.2}
  got = _values(logits, [[1]], 2, **smoothed)
  want = -(0.9 * np.log(3 / 4) + 0.1 * np.log(1 / 4)) / 2
  np.testing.assert_allclose(got["loss"], [want], rtol=1e-6)


def test_squared_error_of_regression():
  c = {"dataset": "teacher_student", "loss": "squared_error"}
  got = _values([[1.0], [2.0]], [[3.0], [2.5]], None, **c)
  assert set(got) == {"loss"}
  np.testing.assert_allclose(got["loss"], [4, 0.25])


SIGNS = {"dataset": "signal_noise"}
LOG_ODDS = [[np.log(3.0)], [np.log(3.0)], [0.0]]  # P(class 1): 3/4, 3/4, 1/2.


def test_logistic_loss_of_one_output():
  got = _values(LOG_ODDS, [1, 0, 1], 2, loss="logistic", **SIGNS)
  np.testing.assert_allclose(got["loss"], np.log([4 / 3, 4, 2]), rtol=1e-6)
  np.testing.assert_allclose(got["accuracy"], [1, 0, 0])


def test_smoothed_logistic_loss_is_least_at_its_log_odds():
  """Namely at ln((1 - p) / p), where it is the entropy of p."""
  fields = {"loss": "logistic", "label_smoothing": 0.25, **SIGNS}
  got = _values(LOG_ODDS, [1, 0, 1], 2, **fields)
  entropy = np.log(4) - 0.75 * np.log(3)
  expected = [entropy, 0.75 * np.log(4) + 0.25 * np.log(4 / 3), np.log(2)]
  np.testing.assert_allclose(got["loss"], expected, rtol=1e-6)
  got = _values(LOG_ODDS, [1, 0, 1], 2, False, **fields)
  np.testing.assert_allclose(got["loss"], np.log([4 / 3, 4, 2]), rtol=1e-6)


def test_squared_error_against_signs():
  got = _values([[0.5], [-0.5]], [1, 1], 2, loss="squared_error", **SIGNS)
  np.testing.assert_allclose(got["loss"], [0.25, 2.25])
  np.testing.assert_allclose(got["accuracy"], [1, 0])


def test_bfloat16_outputs_are_compared_in_float32():
  got = _values(jnp.array(LOGITS, jnp.bfloat16), [0, 0], 3)
  assert got["loss"].dtype == jnp.float32


def test_ppo():
  """p is (3/4, 1/4) and was (1/2, 1/2), so the ratios are 3/2 and 1/2."""
  outputs = [[np.log(3.0), 0.0, 2.0]] * 4
  old, clip = np.log(0.5), 0.1
  targets = [  # Action, log-probability, advantage, return, clip range.
    [0.0, old, 2.0, 1.0, clip],  # Is clipped, to 1.1.
    [0.0, old, -2.0, 2.0, clip],
    [1.0, old, 2.0, 2.0, clip],
    [1.0, old, -2.0, 2.0, clip],  # Is clipped, to 0.9.
  ]
  got = _values(
    outputs,
    targets,
    None,
    dataset="breakout",
    model="actor_critic",
    loss="ppo",
    value_coefficient=0.5,
    entropy_coefficient=0.1,
  )
  policy_loss = np.array([-2.2, 3.0, -1.0, 1.8])
  value_loss = np.array([1.0, 0.0, 0.0, 0.0])
  entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
  np.testing.assert_allclose(got["policy_loss"], policy_loss, rtol=1e-6)
  np.testing.assert_allclose(got["value_loss"], value_loss, rtol=1e-6)
  np.testing.assert_allclose(got["entropy"], entropy, rtol=1e-6)
  want = policy_loss + 0.5 * value_loss - 0.1 * entropy
  np.testing.assert_allclose(got["loss"], want, rtol=1e-6)
