"""The convolutional network with a fixed second layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import data
import models
from tests import helpers

FIELDS = {
  "dataset": "signal_noise",
  "loss": "logistic",
  "model": "two_layer_conv",
  "num_filters": 2,
  "input_dim": 3,
}


def _model(**fields):
  c = helpers.config(**FIELDS | fields)
  return models.create(c, data.load(c))


@pytest.mark.parametrize(
  ("averaged_over", "count"), [("filters", 2), ("patches", 3)]
)
def test_forward_by_hand(averaged_over, count):
  filters = [[[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [0, 0, -1]]]
  patches = [[1, 2, 0], [0, -1, 1], [2, 0, -4]]
  # Class 0: (1 + 0 + 2) + (2 + 0 + 0); class 1: (3 + 0 + 2) + (0 + 0 + 4).
  variables = {"params": {"filters": jnp.array(filters, jnp.float32)}}
  inputs = jnp.array([patches], jnp.float32)
  got = _model(averaged_over=averaged_over).apply(variables, inputs)
  np.testing.assert_allclose(got, [[(9 - 5) / count]])


@pytest.mark.parametrize(
  ("fields", "std"),
  [
    ({"filter_initialization": "uniform"}, (1 / 3 / 400) ** 0.5),
    ({"filter_initialization": "normal", "init_scale": 0.2}, 0.2),
  ],
)
def test_initialization(fields, std):
  model = _model(num_filters=50, **fields)
  variables = model.init(jax.random.key(0), jnp.zeros((1, 2, 400)))
  (filters,) = jax.tree.leaves(variables)
  assert filters.shape == (2, 50, 400)
  assert float(filters.std()) == pytest.approx(std, rel=0.02)
  is_bounded = float(jnp.abs(filters).max()) <= 1 / 400**0.5
  assert is_bounded == (fields["filter_initialization"] == "uniform")
