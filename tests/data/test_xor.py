"""The data of Wen et al., and label noise that is drawn at every step."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import data
from data import label_noise
from data import xor
from tests import helpers


def test_xor():
  c = helpers.config(
    dataset="xor", loss="squared_error", input_dim=3, num_train=400
  )
  dataset = data.load(c)
  assert (dataset.num_classes, dataset.num_outputs) == (2, 1)
  train, test = dataset.splits["train"], dataset.splits["test"]
  assert (train.num_examples, test.num_examples) == (400, xor.NUM_TEST)
  for split in (train, test):
    signs = np.where(split.inputs[:, 0] * split.inputs[:, 1] > 0, 1, 0)
    np.testing.assert_array_equal(split.targets, signs)
  # All 8 corners, alike: 10,000 draws have a standard error of 33.
  corners, counts = np.unique(test.inputs, axis=0, return_counts=True)
  want = list(itertools.product((-1, 1), repeat=3))
  np.testing.assert_array_equal(corners, want)
  assert np.abs(counts - 1250).max() < 170


def test_ball():
  c = helpers.config(dataset="ball", loss="squared_error", input_dim=4)
  dataset = data.load(c)
  assert dataset.num_classes is None
  test = dataset.splits["test"]
  x = np.array([[3.0, -1.0, 5.0], [0.5, 2.0, 0.0]])
  np.testing.assert_array_equal(xor.gap(x), [[2.0], [-1.5]])
  np.testing.assert_array_equal(test.targets, xor.gap(test.inputs))
  # Of a uniform radius R u^(1/4), a sixteenth is in the ball of half of it.
  radii = np.linalg.norm(test.inputs, axis=1)
  assert radii.max() <= 2 * (1 + 1e-6)
  assert np.mean(radii < 1) == pytest.approx(1 / 16, abs=0.01)
  covariance = test.inputs.T @ test.inputs / len(test.inputs)
  # R^2 / (d + 2) in every direction.
  np.testing.assert_allclose(covariance, np.eye(4) * 4 / 6, atol=0.04)


def test_noise_of_a_step():
  keys = jax.random.split(jax.random.key(0), 20_000)
  real = jnp.full((20_000, 1), 3.0)
  noise = np.asarray(label_noise.at_step(keys, real, 0.5, flips=False)) - 3
  assert noise.shape == (20_000, 1)
  assert noise.mean() == pytest.approx(0, abs=0.02)
  assert noise.std() == pytest.approx(0.5, rel=0.03)
  classes = jnp.arange(20_000) % 2
  noisy = label_noise.at_step(keys, classes, 0.5, flips=False)
  # On the scale of -1 and +1, which the loss computes from 0 and 1.
  signs = np.asarray(2 * noisy - 1) - np.asarray(2 * classes - 1)
  assert signs.std() == pytest.approx(0.5, rel=0.03)
  flipped = label_noise.at_step(keys, classes, 0.2, flips=True)
  assert set(np.unique(flipped)) == {0, 1}
  assert np.mean(flipped != classes) == pytest.approx(0.2, abs=0.015)


def test_every_step_has_noise_of_its_own():
  """At a tiny learning rate, equal noise would move weights twice as far."""
  fields = {
    "dataset": "xor",
    "loss": "squared_error",
    "input_dim": 5,
    "num_train": 20,
    "batch_size": 20,
    "model": "two_layer",
    "num_neurons": (8,),
    "optimizer": "sgd",
    "momentum": 0.0,
    "learning_rate": 1e-6,
  }
  with jax.enable_x64():
    clean, noisy = (
      helpers.Trainer(c, data.load(c))
      for c in (
        helpers.config(**fields, dtype="float64", step_label_noise=noise)
        for noise in (0.0, 1.0)
      )
    )
    shifts = []
    for _ in range(2):
      base, moved = clean.run(1).params, noisy.run(1).params
      shifts.append(jax.tree.map(lambda a, b: np.asarray(a - b), moved, base))
  first, both = (s["second"]["kernel"] for s in shifts)
  second = both - first
  assert np.abs(first).max() > 1e-8
  cosine = np.vdot(first, second) / np.linalg.norm(first)
  assert abs(cosine / np.linalg.norm(second)) < 0.9
