"""A mean loss over a data set as a function of the weights.

Everything in this package speaks of flat vectors: weights, gradients and
directions are arrays [d], where d counts the weights that are not pruned, so
no direction ever leaves the unpruned subspace. `flatten` and `unflatten` go to
and from parameter trees.

Data is walked batch by batch, by a loop of the host, so that beside the data
itself memory is bounded by one batch, and convolutions are not slowed by XLA's
CPU loops. Objectives that share `predict` and `loss` share their compiled
programs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import copy
import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
Batch = Mapping[str, jax.Array]
# (params, model_state, batch) -> outputs, [B, ...].
Predict = Callable[[PyTree, PyTree, Batch], jax.Array]
# (outputs, batch) -> loss of each example, [B].
OutputLoss = Callable[[jax.Array, Batch], jax.Array]


@dataclasses.dataclass(frozen=True)
class _Function:
  """The loss of a batch as a function of flat weights; hashable."""

  predict: Predict
  loss: OutputLoss
  treedef: Any
  shapes: tuple[tuple[int, ...], ...]

  def unflatten(self, w: jax.Array, kept: jax.Array | None) -> PyTree:
    sizes = [math.prod(shape) for shape in self.shapes]
    if kept is not None:
      w = jnp.zeros(sum(sizes), w.dtype).at[kept].set(w)
    parts = jnp.split(w, np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(
      self.treedef,
      [x.reshape(s) for x, s in zip(parts, self.shapes, strict=True)],
    )

  def outputs(self, w: jax.Array, fixed: PyTree, batch: Batch) -> jax.Array:
    kept, model_state = fixed
    # Else GPUs round the factors of products to 10 bits.
    with jax.default_matmul_precision("highest"):
      return self.predict(self.unflatten(w, kept), model_state, batch)

  def loss_of(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    losses_B = self.loss(outputs, batch)
    if losses_B.shape != (_size(batch),):
      raise ValueError(
        f"the loss has shape {losses_B.shape}, must be ({_size(batch)},): one"
        " number for each example of the batch"
      )
    return losses_B

  def losses(self, w: jax.Array, fixed: PyTree, batch: Batch) -> jax.Array:
    return self.loss_of(self.outputs(w, fixed, batch), batch)

  def total(self, w: jax.Array, fixed: PyTree, batch: Batch) -> jax.Array:
    return jnp.sum(self.losses(w, fixed, batch))

  def hvp(
    self, w: jax.Array, v: jax.Array, fixed: PyTree, batch: Batch
  ) -> jax.Array:
    """Forward over reverse, of the summed loss."""
    gradient = functools.partial(jax.grad(self.total), fixed=fixed, batch=batch)
    return jax.jvp(gradient, (w,), (v,))[1]


@functools.partial(jax.jit, static_argnums=0)
def _losses(function, w, fixed, batch):
  return function.losses(w, fixed, batch)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(function, w, fixed, batch):
  return function.outputs(w, fixed, batch)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradient(function, w, fixed, batch):
  return jax.value_and_grad(function.total)(w, fixed, batch)


@functools.partial(jax.jit, static_argnums=0)
def _hvp(function, w, v, fixed, batch):
  return function.hvp(w, v, fixed, batch)


@functools.partial(jax.jit, static_argnums=0)
def _ggn_vp(function, w, v, fixed, batch):
  """J^T (Hessian of the loss of the outputs) J v, of the summed loss."""
  outputs_of = functools.partial(function.outputs, fixed=fixed, batch=batch)
  outputs, transpose = jax.vjp(outputs_of, w)
  tangent = jax.jvp(outputs_of, (w,), (v,))[1]
  slope = jax.grad(lambda outputs: jnp.sum(function.loss_of(outputs, batch)))
  return transpose(jax.jvp(slope, (outputs,), (tangent,))[1])[0]


@functools.partial(jax.jit, static_argnums=0)
def _ggn_trace(function, w, fixed, batch):
  """Sum over examples of tr J^T (Hessian of the loss of the outputs) J."""

  def of_example(example):
    alone = jax.tree.map(lambda x: x[None], example)

    def outputs_of(w):
      return function.outputs(w, fixed, alone)[0]

    def loss(outputs):
      return function.loss_of(outputs[None], alone)[0]

    jacobian_Cxd = jax.jacrev(outputs_of)(w)
    curvature_CxC = jax.hessian(loss)(outputs_of(w))
    return jnp.sum(curvature_CxC * (jacobian_Cxd @ jacobian_Cxd.T))

  return jnp.sum(jax.vmap(of_example)(batch))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _power_vp(function, power, w, v, fixed, batch):
  """Sum over examples of (Hessian of the example)^power v."""

  def of_example(example):
    alone = jax.tree.map(lambda x: x[None], example)
    u = v
    for _ in range(power):
      u = function.hvp(w, u, fixed, alone)
    return u

  return jnp.sum(jax.vmap(of_example)(batch), 0)


@jax.jit
def _flatten(params, kept):
  leaves = [x.reshape(-1) for x in jax.tree.leaves(params)]
  w = jnp.concatenate(leaves)
  return w if kept is None else w[kept]


class Objective:
  """A mean loss over a data set; see the module.

  Attributes:
    weights: the flat weights it was made with, [d].
    num_examples: examples in the data set.
  """

  def __init__(
    self,
    predict: Predict,
    loss: OutputLoss,
    params: PyTree,
    batches: Sequence[Batch],
    *,
    model_state: PyTree = None,
    mask: PyTree | None = None,
    independent_examples: bool = True,
  ):
    """Binds a model, its loss and its data.

    Args:
      predict: see `Predict`; pure.
      loss: see `OutputLoss`; pure.
      params: tree of weights, of one dtype.
      batches: the data set, every example once, as of `batched`. The last may
        be smaller.
      model_state: the model's other variables; they are constants here.
      mask: tree of bool shaped as `params`, False where a weight is pruned.
      independent_examples: False where the outputs for an example depend on its
        batch, as with BatchNorm's batch statistics. Then the batches stay as
        they are, and no example has a Hessian of its own.

    Raises:
      ValueError: `batches` is a single one, or empty; and later, as soon as
        `loss` is used, if it does not return a number for each example.
    """
    if isinstance(batches, Mapping) or not batches:
      raise ValueError("batches must be a sequence of one or more batches")
    leaves, treedef = jax.tree.flatten(params)
    shapes = tuple(np.shape(x) for x in leaves)
    self._function = _Function(predict, loss, treedef, shapes)
    kept = None
    if mask is not None:
      flat = np.concatenate([np.ravel(m) for m in jax.tree.leaves(mask)])
      kept = jnp.asarray(np.flatnonzero(flat))
    self._kept = kept
    self._fixed = kept, jax.tree.map(jnp.asarray, model_state)
    self._independent_examples = independent_examples
    self.batches = batches
    self.num_examples = sum(_size(batch) for batch in batches)
    self.weights = self.flatten(params)

  @property
  def dim(self) -> int:
    """Number of weights that are not pruned, d."""
    return self.weights.size

  def flatten(self, tree: PyTree) -> jax.Array:
    """Returns a tree of the weights' shapes as a vector [d]."""
    return _flatten(tree, self._kept)

  def unflatten(self, w: jax.Array) -> PyTree:
    """Returns a vector [d] as a tree; pruned weights are 0."""
    return self._function.unflatten(w, self._kept)

  @property
  def predict(self) -> Predict:
    """The model; see `Predict`."""
    return self._function.predict

  @property
  def model_state(self) -> PyTree:
    """The model's other variables."""
    return self._fixed[1]

  def with_batches(self, batches: Sequence[Batch]) -> "Objective":
    """Returns the same model and loss over other data."""
    other = copy.copy(self)
    other.batches = batches
    other.num_examples = sum(_size(batch) for batch in batches)
    return other

  def with_model(self, predict: Predict, model_state: PyTree) -> "Objective":
    """Returns the same loss, data, weights and mask under another model.

    What changes from call to call belongs into `model_state`, so that equal
    models share their compiled programs.
    """
    other = copy.copy(self)
    other._function = dataclasses.replace(self._function, predict=predict)
    other._fixed = self._kept, model_state
    return other

  def sample(self, num_examples: int, seed: int = 0) -> "Objective":
    """Returns the objective over so many random examples, or over all.

    Raises:
      ValueError: examples depend on their batch.
    """
    self._check_independent()
    if num_examples >= self.num_examples:
      return self
    order = np.random.default_rng(seed).permutation(self.num_examples)
    rows = np.sort(order[:num_examples])
    ends = np.cumsum([_size(batch) for batch in self.batches])
    of_batch = np.split(rows, np.searchsorted(rows, ends[:-1]))
    starts = [0, *ends[:-1]]
    parts = [
      jax.tree.map(lambda x, r=r: x[r], batch)
      for batch, r in zip(
        self.batches,
        [r - start for r, start in zip(of_batch, starts, strict=True)],
        strict=True,
      )
    ]
    whole = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    most = max(_size(batch) for batch in self.batches)
    return self.with_batches(batched(whole, most))

  def microbatches(self, size: int) -> Iterator["Objective"]:
    """Yields objectives over successive `size` examples; a rest is dropped.

    Raises:
      ValueError: examples depend on their batch, and it has another size.
    """
    if not self.has_microbatches(size):
      self._check_independent()
    rest = None
    for batch in self.batches:
      if rest is not None:
        batch = jax.tree.map(lambda *x: jnp.concatenate(x), rest, batch)
      end = _size(batch) // size * size
      for i in range(0, end, size):
        yield self.with_batches([_rows(batch, i, i + size)])
      rest = _rows(batch, end, None) if _size(batch) > end else None

  def has_microbatches(self, size: int) -> bool:
    """Whether `microbatches` of this size leave the outputs as they are."""
    sizes = {_size(batch) for batch in self.batches}
    return self._independent_examples or sizes == {size}

  def _check_independent(self) -> None:
    if not self._independent_examples:
      raise ValueError("the examples depend on their batch, as it was given")

  def example_losses(self, w: jax.Array) -> jax.Array:
    """Returns the loss of every example, [N]."""
    parts = [_losses(self._function, w, self._fixed, b) for b in self.batches]
    return jnp.concatenate(parts)

  def outputs(self, w: jax.Array) -> jax.Array:
    """Returns the outputs for every example, [N, ...]."""
    parts = [_outputs(self._function, w, self._fixed, b) for b in self.batches]
    return jnp.concatenate(parts)

  def value(self, w: jax.Array) -> jax.Array:
    """Returns the mean loss, a scalar."""
    return self._mean(
      lambda b: _losses(self._function, w, self._fixed, b).sum()
    )

  def value_and_gradient(self, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean loss and its gradient, [d]."""
    return self._mean(
      lambda b: _value_and_gradient(self._function, w, self._fixed, b)
    )

  def gradient(self, w: jax.Array) -> jax.Array:
    """Returns the gradient of the mean loss, [d]."""
    return self.value_and_gradient(w)[1]

  def hvp(self, w: jax.Array, v: jax.Array) -> jax.Array:
    """Returns the Hessian at `w` times `v`, [d]."""
    return self._mean(lambda b: _hvp(self._function, w, v, self._fixed, b))

  def ggn_vp(self, w: jax.Array, v: jax.Array) -> jax.Array:
    """Returns the generalized Gauss-Newton matrix at `w` times `v`, [d]."""
    return self._mean(lambda b: _ggn_vp(self._function, w, v, self._fixed, b))

  def ggn_trace(self, w: jax.Array, chunk: int = 16) -> jax.Array:
    """Returns the exact trace of the matrix of `ggn_vp`, a scalar.

    Of a squared error at interpolation it is that of the Hessian, and so it is
    everywhere for ReLU networks of products and sums of weights alone: their
    outputs are linear in each weight.

    Args:
      w: weights, [d].
      chunk: examples at once; memory grows with chunk times outputs times d.

    Raises:
      ValueError: examples depend on their batch.
    """
    self._check_independent()
    return self._mean_of_chunks(
      lambda part: _ggn_trace(self._function, w, self._fixed, part), chunk
    )

  def power_vp(
    self, w: jax.Array, v: jax.Array, power: int, chunk: int = 16
  ) -> jax.Array:
    """Returns the mean over examples of H_i^power v, [d].

    H_i is the Hessian of one example's loss: (1/n) sum_i H_i^k is M_k in Shin
    et al., Section 6.

    Args:
      w: weights, [d].
      v: direction, [d].
      power: k.
      chunk: examples at once; memory grows with chunk times d.

    Raises:
      ValueError: examples depend on their batch.
    """
    self._check_independent()
    return self._mean_of_chunks(
      lambda part: _power_vp(self._function, power, w, v, self._fixed, part),
      chunk,
    )

  def _mean_of_chunks(
    self, of_part: Callable[[Batch], jax.Array], chunk: int
  ) -> jax.Array:
    def of_batch(batch):
      starts = range(0, _size(batch), chunk)
      return sum(of_part(_rows(batch, i, i + chunk)) for i in starts)

    return self._mean(of_batch)

  def _mean(self, of_batch: Callable[[Batch], Any]) -> Any:
    total = None
    for batch in self.batches:
      part = of_batch(batch)
      total = part if total is None else jax.tree.map(jnp.add, total, part)
    return jax.tree.map(lambda x: x / self.num_examples, total)


def batched(examples: Batch, most: int) -> list[Batch]:
  """Returns batches of at most `most` examples.

  They are as equal as can be, so that few shapes are compiled.
  """
  size = _size(examples)
  count = -(-size // most)
  ends = [size * (i + 1) // count for i in range(count)]
  return [
    _rows(examples, start, end)
    for start, end in zip([0, *ends], ends, strict=False)
  ]


def _rows(batch: Batch, start: int, end: int | None) -> Batch:
  return jax.tree.map(lambda x: x[start:end], batch)


def _size(batch: Batch) -> int:
  return len(jax.tree.leaves(batch)[0])
