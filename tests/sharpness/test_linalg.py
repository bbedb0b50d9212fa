"""Inner products and orthonormal bases, where rounding would spoil them."""

import jax
import numpy as np

from sharpness import linalg

DIM = 50


def test_orthogonalize_leaves_nothing_behind():
  with jax.enable_x64():
    # The rest is 1e-9 of the vector; a single pass would leave 1e-7 of it.
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, 9)))[0].T
    basis, vector = rows[:8], 1e3 * rows[:8].sum(0) + 1e-6 * rows[8]
    coefficients, rest, norms = linalg.orthogonalize(basis, vector)
    np.testing.assert_allclose(coefficients, 1e3)
    np.testing.assert_allclose(norms, [1e3 * 8**0.5, 1e-6], rtol=1e-5)
    np.testing.assert_allclose(basis @ np.asarray(rest) / 1e-6, 0, atol=1e-12)


def test_float32_sums_of_many_small_numbers_after_a_large_one():
  # The product of a matrix and a vector is off by 5e-4 here.
  spike = np.full((12, 2**22), 3e-5, np.float32)
  spike[:, 0] = 1
  squares = np.asarray(jax.jit(linalg.inner_products)(spike, spike[:1]))
  np.testing.assert_allclose(squares, 1 + 2**22 * 3e-5**2, rtol=5e-6)
