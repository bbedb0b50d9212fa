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


def value_and_grad(
  loss_fn: LossFn,
  *,
  perturbation: str = "normalized",
  asam_eta: float = 0.01,
  ascent_steps: int = 1,
  microbatch_size: int | None = None,
  merge_aux: Callable[[Any], Any] | None = None,
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
    merge_aux: combines the aux of the microbatches, stacked on a new leading
      axis; read only with more than one microbatch (default: leave stacked).
    sync_axis: name of a mapped axis over which the ascent gradient is
      averaged, so that all devices share one perturbation.

  Returns:
    A function (params, batch, rho) -> ((loss, aux), grads). Loss and aux are
    those of the unperturbed pass; aux gains 'perturbed_loss', the loss at
    w + eps, so that SAM's own sharpness is perturbed_loss - loss.

  Raises:
    ValueError: while tracing, if `microbatch_size` does not divide the batch,
      or there is no such perturbation.
    TypeError: while tracing, if `aux` is not a dict.
  """
  plain_grad = jax.value_and_grad(loss_fn, has_aux=True)

  def ascend(params, grads, eps, rho):
    if sync_axis is not None:
      grads = jax.lax.pmean(grads, sync_axis)
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
    return (loss, aux | {"perturbed_loss": perturbed_loss}), grads

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

    microbatches = jax.tree.map(
      lambda x: x.reshape(count, size, *x.shape[1:]), batch
    )

    def add(total, microbatch):
      (loss, aux), grads = one_microbatch(params, microbatch, rho)
      return jax.tree.map(jnp.add, total, grads), (loss, aux)

    total, (losses, aux) = jax.lax.scan(
      add,
      jax.tree.map(jnp.zeros_like, params),
      microbatches,
      unroll=(
        count <= MAX_UNROLLED_MICROBATCHES and jax.default_backend() == "cpu"
      ),
    )
    perturbed_loss = jnp.mean(aux.pop("perturbed_loss"))
    aux = merge_aux(aux) if merge_aux else aux
    grads = jax.tree.map(lambda g: g / count, total)
    aux = aux | {"perturbed_loss": perturbed_loss}
    return (jnp.mean(losses), aux), grads

  return sam_grad
