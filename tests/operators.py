"""Symmetric matrices with awkward spectra, and products with them."""

import jax
import numpy as np

DIM = 40
SPECTRA = {
  "indefinite": np.concatenate([np.linspace(-3, -0.1, 20), np.arange(20) / 8]),
  "rank 3": np.array([4.0, 1.0, -2.0] + [0.0] * (DIM - 3)),
  "triple": np.array([5.0, 5.0, 5.0, 2.0, 2.0, -5.0] + [1.0] * (DIM - 6)),
  "zero": np.zeros(DIM),
  "identity": np.ones(DIM),
  "minus identity": -np.ones(DIM),
}


def matrix(eigenvalues: np.ndarray) -> np.ndarray:
  """Returns a matrix with these eigenvalues and random eigenvectors."""
  rng = np.random.default_rng(0)
  dim = len(eigenvalues)
  q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
  return (q * eigenvalues) @ q.T


class Operator:
  """A product with a matrix that remembers what it was applied to."""

  def __init__(self, dense: np.ndarray):
    self.dense = dense
    self.inputs: list[np.ndarray] = []

  def __call__(self, v: jax.Array) -> jax.Array:
    self.inputs.append(np.asarray(v))
    return jax.device_put(self.dense @ self.inputs[-1])
