"""The gradient of sharpness-aware minimization.

Shin et al. (UAI 2025), equation 3; Foret et al. (2021) for the normalized
perturbation, Kwon et al. (2021) for the adaptive one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Params = PyTree
LossFn = Callable[[Params, PyTree], tuple[jax.Array, dict[str, Any]]]
GradFn = Callable[
  [Params, PyTree, jax.Array],
  tuple[tuple[jax.Array, dict[str, Any]], Params],
]

# Added to every norm that divides, as in the published code.
NORM_EPS = 1e-12
PERTURBED_LOSS = "perturbed_loss"
# A loop this short is unrolled: XLA's CPU convolutions are slow inside loops.
MAX_UNROLLED_MICROBATCHES = 8


def global_norm(tree: PyTree) -> jax.Array:
  """Returns the Euclidean norm over all leaves.

  Unlike `optax.global_norm`, its derivative at a zero tree is zero, not NaN.
  """
  square = sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree))
  positive = square > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def perturbation_from(
  grads: Params,
  params: Params,
  rho: jax.Array,
  *,
  kind: str = "normalized",
  asam_eta: float = 0.01,
) -> Params:
  """Returns one ascent step: the perturbation for a gradient.

  Args:
    grads: the gradient g, shaped as `params`.
    params: the weights w (read by 'adaptive' alone).
    rho: scalar radius.
    kind: 'normalized': rho g / (||g|| + 1e-12); 'unnormalized': rho g;
      'adaptive': rho T^2 g / (||T g|| + 1e-12) with T = |w| + asam_eta. Norms
      are taken over the whole tree.
    asam_eta: see `kind`.
  """
  if kind == "unnormalized":
    return jax.tree.map(lambda g: rho * g, grads)
  if kind == "normalized":
    scale = rho / (global_norm(grads) + NORM_EPS)
    return jax.tree.map(lambda g: scale * g, grads)
  if kind == "adaptive":
    scaled = jax.tree.map(lambda g, t: t * g, grads, _asam(params, asam_eta))
    scale = rho / (global_norm(scaled) + NORM_EPS)
    return jax.tree.map(
      lambda s, t: scale * t * s, scaled, _asam(params, asam_eta)
    )
  raise ValueError(
    f"perturbation {kind!r}: must be normalized, unnormalized or adaptive"
  )


def _asam(params: Params, eta: float) -> Params:
  return jax.tree.map(lambda w: jnp.abs(w) + eta, params)


def _project(
  eps: Params, params: Params, rho: jax.Array, kind: str, asam_eta: float
) -> Params:
  """Shrinks `eps` to the ball of radius rho (in ASAM's norm if adaptive)."""
  measured = eps
  if kind == "adaptive":
    measured = jax.tree.map(
      lambda e, t: e / (t + NORM_EPS), eps, _asam(params, asam_eta)
    )
  shrink = jnp.minimum(1, rho / (global_norm(measured) + NORM_EPS))
  return jax.tree.map(lambda e: shrink * e, eps)


def _only(grads: Params, perturbs: Callable[[str], bool]) -> Params:
  """Returns the gradient with zeros for what is not perturbed."""

  def part(path: Any, grad: jax.Array) -> jax.Array:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return grad if perturbs(name) else jnp.zeros_like(grad)

  return jax.tree_util.tree_map_with_path(part, grads)


def accumulated(
  loss_fn: LossFn,
  num_parts: int,
  merge_aux: Callable[[Any], Any] | None = None,
) -> Callable[[Params, PyTree], Any]:
  """Returns `jax.value_and_grad(loss_fn, has_aux=True)`, part by part.

  So the memory of a step is that of a part. The gradient is that of the whole
  batch but for the order of its sums, unless the loss of an example depends on
  its neighbours, as with BatchNorm.

  Args:
    loss_fn: (params, batch) -> (loss, aux); see `value_and_grad`. The loss is
      a mean over the examples.
    num_parts: into which a batch is cut, in the order of its examples.
    merge_aux: see `value_and_grad`.
  """
  grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
  if num_parts == 1:
    return grad_fn

  def grad_of_parts(params, batch):
    num_examples = len(jax.tree.leaves(batch)[0])
    if num_examples % num_parts:
      raise ValueError(
        f"{num_parts} parts do not divide the {num_examples} examples of the"
        " batch"
      )
    return _mean_of_parts(grad_fn, params, batch, num_parts, merge_aux)

  return grad_of_parts


def _mean_of_parts(
  grad_fn: Callable[[Params, PyTree], Any],
  params: Params,
  batch: PyTree,
  count: int,
  merge_aux: Callable[[Any], Any] | None,
) -> Any:
  """Returns the mean of ((loss, aux), gradient) over the parts of a batch."""
  parts = jax.tree.map(
    lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), batch
  )

  def add(total, part):
    value, grads = grad_fn(params, part)
    return jax.tree.map(jnp.add, total, grads), value

  total, (losses, aux) = jax.lax.scan(
    add,
    jax.tree.map(jnp.zeros_like, params),
    parts,
    unroll=(
      count <= MAX_UNROLLED_MICROBATCHES and jax.default_backend() == "cpu"
    ),
  )
  perturbed = {
    name: jnp.mean(aux.pop(name)) for name in (PERTURBED_LOSS,) if name in aux
  }
  aux = merge_aux(aux) if merge_aux else aux
  grads = jax.tree.map(lambda g: g / count, total)
  return (jnp.mean(losses), aux | perturbed), grads


def value_and_grad(
  loss_fn: LossFn,
  *,
  perturbation: str = "normalized",
  asam_eta: float = 0.01,
  ascent_steps: int = 1,
  microbatch_size: int | None = None,
  accumulation: int = 1,
  merge_aux: Callable[[Any], Any] | None = None,
  perturbs: Callable[[str], bool] | None = None,
  sync_axis: str | None = None,
) -> GradFn:
  """Like `jax.value_and_grad(loss_fn, has_aux=True)`, with SAM's gradient.

  The gradient is that of the loss at w + eps, where eps ascends the loss at w
  within radius rho and is a constant for differentiation; w itself is kept.
  rho = 0 gives the plain gradient; a zero gradient gives eps = 0.

  Args:
    loss_fn: (params, batch) -> (loss, aux), aux a dict. With `microbatch_size`
      the loss must be a mean over the examples of the batch, which have the
      leading axis of each of its leaves.
    perturbation: kind of `perturbation_from`.
    asam_eta: see `perturbation_from`.
    ascent_steps: with n > 1, n steps of length rho, each followed by a
      projection to the ball of radius rho.
    microbatch_size: the m of m-sharpness: the batch is cut into microbatches
      of m examples in their order, each has its own perturbation, and their
      gradients are averaged. None: one microbatch. Must divide the batch.
    accumulation: the parts into which each microbatch is cut to save memory,
      but not perturbation: all of its parts share one, that of their mean
      gradient. Must divide the microbatch; see `accumulated`.
    merge_aux: combines the aux of the microbatches, or parts, stacked on a new
      leading axis; read only with more than one (default: leave stacked).
    perturbs: path of a parameter, such as 'Dense_0/kernel' -> whether it is
      perturbed; norms are taken over those that are. None: all are.
    sync_axis: name of a mapped axis over which the ascent gradient is
      averaged, so that all devices share one perturbation.

  Returns:
    A function (params, batch, rho) -> ((loss, aux), grads). Loss and aux are
    those of the unperturbed pass; aux gains 'perturbed_loss', the loss at
    w + eps, so that SAM's own sharpness is perturbed_loss - loss.

  Raises:
    ValueError: while tracing, if `microbatch_size` does not divide the batch,
      or `accumulation` a microbatch, or there is no such perturbation.
    TypeError: while tracing, if `aux` is not a dict.
  """
  plain_grad = accumulated(loss_fn, accumulation, merge_aux)

  def ascend(params, grads, eps, rho):
    if sync_axis is not None:
      grads = jax.lax.pmean(grads, sync_axis)
    if perturbs is not None:
      grads = _only(grads, perturbs)
    step = perturbation_from(
      grads, params, rho, kind=perturbation, asam_eta=asam_eta
    )
    if eps is None:
      return step
    moved = jax.tree.map(jnp.add, eps, step)
    return _project(moved, params, rho, perturbation, asam_eta)

  def one_microbatch(params, batch, rho):
    (loss, aux), grads = plain_grad(params, batch)
    if not isinstance(aux, dict):
      raise TypeError(f"aux must be a dict, and is a {type(aux).__name__}")
    eps = ascend(params, grads, None, rho)
    for _ in range(ascent_steps - 1):
      _, grads = plain_grad(jax.tree.map(jnp.add, params, eps), batch)
      eps = ascend(params, grads, eps, rho)
    perturbed = jax.tree.map(jnp.add, params, eps)
    (perturbed_loss, _), grads = plain_grad(perturbed, batch)
    return (loss, aux | {PERTURBED_LOSS: perturbed_loss}), grads

  def sam_grad(params, batch, rho):
    if microbatch_size is None:
      return one_microbatch(params, batch, rho)
    size, num_examples = microbatch_size, len(jax.tree.leaves(batch)[0])
    count, remainder = divmod(num_examples, size)
    if remainder:
      raise ValueError(
        f"microbatch_size={size} does not divide the {num_examples} examples"
        " of the batch"
      )
    if count == 1:
      return one_microbatch(params, batch, rho)
    return _mean_of_parts(
      lambda params, batch: one_microbatch(params, batch, rho),
      params,
      batch,
      count,
      merge_aux,
    )

  return sam_grad
