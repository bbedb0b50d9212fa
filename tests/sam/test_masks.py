"""How many weights each pruner prunes, and which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sam import masks

PARAMS = {
  "dense": {
    "kernel": jnp.arange(1.0, 13.0).reshape(3, 4) * jnp.array(-1.0),
    "bias": jnp.ones(4),
  },
  "out": {"kernel": jnp.full((4, 2), 0.5), "bias": jnp.zeros(2)},
}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def _create(pruner, sparsity, **kwargs):
  return masks.create(
    pruner, PARAMS, sparsity, key=jax.random.key(0), grads=GRADS, **kwargs
  )


@pytest.mark.parametrize(
  ("sparsity", "num_weights", "want"),
  [
    (0.0, 100, 0),
    (1.0, 100, 100),
    (0.29, 100, 29),  # 0.29 * 100 is 28.999... in binary.
    (0.999, 1000, 999),
    (0.56, 9, 5),
    (1e-7, 1000, 0),
  ],
)
def test_number_of_pruned_weights_is_exact(sparsity, num_weights, want):
  assert masks.num_pruned(sparsity, num_weights) == want


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.75, 1.0])
@pytest.mark.parametrize(
  ("pruner", "scope"),
  [
    ("random", "layer"),
    ("magnitude", "layer"),
    ("magnitude", "global"),
    ("snip", "global"),
  ],
)
def test_counts_per_scope_and_kernels_only(pruner, scope, sparsity):
  kwargs = {"magnitude_scope": scope} if pruner == "magnitude" else {}
  mask = _create(pruner, sparsity, **kwargs)
  sizes = [12, 8]
  pruned = [int((~mask[k]["kernel"]).sum()) for k in ("dense", "out")]
  if scope == "layer":
    assert pruned == [int(sparsity * n) for n in sizes]
  else:
    assert sum(pruned) == int(sparsity * sum(sizes))
  assert mask["dense"]["bias"].all()
  assert mask["out"]["bias"].all()


def test_smallest_scores_go_first_and_ties_by_position():
  mask = _create("magnitude", 0.45, magnitude_scope="global")  # 9 of 20.
  # All eight 0.5 of 'out', then the 1 of 'dense'.
  np.testing.assert_array_equal(mask["out"]["kernel"], np.zeros((4, 2), bool))
  want = np.ones((3, 4), bool)
  want[0, 0] = False
  np.testing.assert_array_equal(mask["dense"]["kernel"], want)
  mask = _create("magnitude", 0.5, magnitude_scope="layer")
  half = np.array([[0, 0], [0, 0], [1, 1], [1, 1]], bool)
  np.testing.assert_array_equal(mask["out"]["kernel"], half)


def test_snip_scores_are_weight_times_gradient():
  grads = jax.tree.map(jnp.ones_like, PARAMS)
  grads["out"]["kernel"] = jnp.full((4, 2), 100.0)  # Scores 50: all kept.
  mask = masks.create("snip", PARAMS, 0.5, grads=grads)
  assert mask["out"]["kernel"].all()
  want = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]], bool)
  np.testing.assert_array_equal(mask["dense"]["kernel"], want)


def test_random_masks_depend_on_the_key_alone():
  first, again = _create("random", 0.5), _create("random", 0.5)
  other = masks.create("random", PARAMS, 0.5, key=jax.random.key(1))
  same = jax.tree.map(lambda a, b: bool((a == b).all()), first, again)
  assert all(jax.tree.leaves(same))
  assert (first["dense"]["kernel"] != other["dense"]["kernel"]).any()


def test_apply():
  mask = _create("magnitude", 1.0)
  pruned = masks.apply(PARAMS, mask)
  assert (pruned["dense"]["kernel"] == 0).all()
  np.testing.assert_array_equal(pruned["dense"]["bias"], 1)
  assert masks.apply(PARAMS, None) is PARAMS


@pytest.mark.parametrize("pruner", ["snip", "random", "typo"])
def test_missing_scores_are_an_error(pruner):
  with pytest.raises(ValueError, match=pruner):
    masks.create(pruner, PARAMS, 0.5)
