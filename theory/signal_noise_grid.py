"""Signal and noise over a grid of norms, radii and learning rates.

All runs of `signal_noise.train` on a grid are one program, which does not
depend on the dimension.
"""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theory import signal_noise

NUM_TEST = 1000


def rows(
  *,
  dim: int,
  norms: Sequence[float],
  taus: Mapping[str, float],
  learning_rates: Sequence[float],
  batch_size: int,
  num_epochs: int,
  then_gd: int,
  num_filters: int,
  num_seeds: int,
  num_train: int,
  num_patches: int,
  noise_scale: float,
  init_share: float | None = None,
  with_course: bool = False,
) -> list[dict[str, Any]]:
  """Trains every seed at every point of the grid.

  A seed has data and initial filters of its own, which all points share.

  Args:
    dim: d.
    norms: values of ||mu||.
    taus: radii of SAM's perturbation by the name of the method; 0: gradient
      descent.
    learning_rates: values of eta.
    batch_size: examples in a step.
    num_epochs: epochs with the perturbation.
    then_gd: epochs of gradient descent after them.
    num_filters: of each class, m.
    num_seeds: number of seeds.
    num_train: n.
    num_patches: P; the factor on the sum over filters and patches is 1 / P.
    noise_scale: sigma_p.
    init_share: initial scale, as a share of the largest of Condition 3.1; None:
      as `signal_noise.draw` has it.
    with_course: whether to return what is seen on the way.

  Returns:
    Columns of each: seed, num_dimensions, signal_norm, method, tau,
    learning_rate; test_error; train_loss, of all examples; switched_off, the
    share of the filters which the noises activate at first that the first
    perturbation switches off. If asked for, by step: course_loss;
    course_signal, the mean of gamma over the filters; course_noise, that of rho
    over the filters of a noise's own class, which learn it.
  """
  init_scale = None
  if init_share is not None:
    init_scale = init_share * signal_noise.condition_init_scale(
      dim,
      num_train=num_train,
      num_patches=num_patches,
      noise_scale=noise_scale,
    )
  starts = [
    signal_noise.draw(
      np.random.default_rng([seed, dim]),
      dim=dim,
      num_train=num_train,
      num_filters=num_filters,
      noise_scale=noise_scale,
      num_test=NUM_TEST,
      init_scale=init_scale,
    )
    for seed in range(num_seeds)
  ]
  total = num_epochs + then_gd
  weights = signal_noise.batch_weights(num_train, batch_size, total)
  num_sam = round(num_epochs / total * len(weights))
  methods, radii = zip(*taus.items(), strict=True)
  found = jax.device_get(
    _train(
      jax.tree.map(lambda *x: jnp.stack(x), *starts),
      jnp.array(norms),
      jnp.array(radii),
      jnp.array(learning_rates),
      jnp.asarray(weights),
      jnp.arange(len(weights)) < num_sam,
      num_patches,
      with_course,
    )
  )
  return [
    {
      "seed": seed,
      "num_dimensions": dim,
      "signal_norm": norms[norm],
      "method": methods[tau],
      "tau": radii[tau],
      "learning_rate": learning_rates[rate],
      **{name: x[seed, norm, tau, rate].tolist() for name, x in found.items()},
    }
    for seed, norm, tau, rate in np.ndindex(found["test_error"].shape)
  ]


@functools.partial(jax.jit, static_argnums=(6, 7))
def _train(*arguments: Any) -> dict[str, jax.Array]:
  """Maps `_run` over starts, norms, taus and learning rates, [R, A, B, C]."""
  arrays, fixed = arguments[:6], arguments[6:]

  def mapped(*arrays):
    return _run(*arrays, *fixed)

  for axis in (3, 2, 1, 0):
    mapped = jax.vmap(mapped, [0 if i == axis else None for i in range(6)])
  return mapped(*arrays)


def _run(
  start: signal_noise.Start,
  norm: jax.Array,
  tau: jax.Array,
  rate: jax.Array,
  weights_TxN: jax.Array,
  is_sam_T: jax.Array,
  num_patches: int,
  with_course: bool,
) -> dict[str, jax.Array]:
  """Returns the columns of a run; those of its course are curves, [T]."""
  setting = signal_noise.Setting(
    signal_norm=norm,
    noise_patches=num_patches - 1,
    factor=1 / num_patches,
    learning_rate=rate,
    tau_T=tau * is_sam_T,
    weights_TxN=weights_TxN,
  )
  filters, trace = signal_noise.train(start, setting)
  all_N = jnp.full_like(start.signs_N, 1 / len(start.signs_N))
  found = {
    "test_error": signal_noise.test_error(filters, start, setting),
    "train_loss": signal_noise.loss(
      filters.products_JxMxK, start, setting, all_N
    ),
    "switched_off": trace.num_off_T[0] / jnp.maximum(trace.num_active_T[0], 1),
  }
  if not with_course:
    return found
  own_JxN = jnp.array([-1, 1])[:, None] == start.signs_N[None]
  noise_TxJxN = jnp.mean(trace.noise_TxJxMxN, 2) * own_JxN[None]
  return found | {
    "course_loss": trace.loss_T,
    "course_signal": jnp.mean(trace.signal_TxJxM, (1, 2)),
    "course_noise": jnp.sum(noise_TxJxN, (1, 2)) / jnp.sum(own_JxN),
  }
