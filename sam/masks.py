"""Pruning at initialization: masks that are fixed for the whole training.

Exactly floor(sparsity * n) of the n weights in a scope are pruned, the lowest
scores first, ties by position. Only leaves named 'kernel' are pruned. (The
published code prunes one weight more in every scope, even at sparsity 0.)
"""

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def apply(params: PyTree, mask: PyTree | None) -> PyTree:
  """Returns `params` with pruned weights set to zero (None prunes nothing)."""
  if mask is None:
    return params
  return jax.tree.map(lambda w, m: jnp.where(m, w, 0), params, mask)


def create(
  pruner: str,
  params: PyTree,
  sparsity: float,
  *,
  key: jax.Array | None = None,
  grads: PyTree | None = None,
  magnitude_scope: str = "global",
) -> PyTree:
  """Returns a tree of bool, shaped as `params`; False marks a pruned weight.

  Args:
    pruner: 'random' (uniformly within each layer), 'magnitude' (|w|) or 'snip'
      (|w * dL/dw|, compared over all layers; Lee et al. 2019).
    params: the initial weights.
    sparsity: fraction to prune, in [0, 1].
    key: PRNG key, for 'random'.
    grads: gradient on one training batch at `params`, for 'snip'.
    magnitude_scope: 'layer' or 'global', for 'magnitude'.

  Raises:
    ValueError: unknown pruner, or what it needs is missing.
  """
  # On the host, where no program is compiled for each shape.
  leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
  kernels = [i for i, (path, _) in enumerate(leaves) if _is_kernel(path)]
  weights = [leaves[i][1] for i in kernels]
  if pruner == "random" and key is not None:
    keys = jax.random.split(key, len(weights))
    scores = [
      jax.random.uniform(k, w.shape) for k, w in zip(keys, weights, strict=True)
    ]
  elif pruner == "magnitude":
    scores = [np.abs(np.asarray(w)) for w in weights]
  elif pruner == "snip" and grads is not None:
    grad_leaves = jax.tree.leaves(grads)
    scores = [
      np.abs(np.asarray(w) * np.asarray(grad_leaves[i]))
      for i, w in zip(kernels, weights, strict=True)
    ]
  else:
    raise ValueError(f"pruner {pruner!r} is unknown, or lacks its key or grads")

  everywhere = pruner == "snip" or (
    pruner == "magnitude" and magnitude_scope == "global"
  )
  flat = [np.asarray(s).ravel() for s in scores]
  if everywhere and flat:
    ends = np.cumsum([s.size for s in flat])[:-1]
    kept = np.split(_keep(np.concatenate(flat), sparsity), ends)
  else:
    kept = [_keep(s, sparsity) for s in flat]

  masks = [np.ones(np.shape(w), bool) for _, w in leaves]
  for i, keep in zip(kernels, kept, strict=True):
    masks[i] = keep.reshape(masks[i].shape)
  return jax.tree.unflatten(treedef, [jnp.asarray(m) for m in masks])


def has_kernels(params: PyTree) -> bool:
  """Whether there is anything to prune."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return any(_is_kernel(path) for path, _ in leaves)


def _is_kernel(path: tuple[Any, ...]) -> bool:
  return getattr(path[-1], "key", None) == "kernel"


def num_pruned(sparsity: float, num_weights: int) -> int:
  """Returns floor(sparsity * num_weights), exact for the decimal `sparsity`.

  Binary floating point would prune 28 of 100 weights at sparsity 0.29.
  """
  return int(Fraction(repr(float(sparsity))) * num_weights)


def _keep(scores: np.ndarray, sparsity: float) -> np.ndarray:
  """Returns a flat bool array that is False at the lowest scores."""
  order = np.argsort(scores, kind="stable")
  keep = np.ones(scores.size, bool)
  keep[order[: num_pruned(sparsity, scores.size)]] = False
  return keep
