"""Gradient descent and SAM on signal and noise patches, in inner products.

Chen et al. (2023), "Why Does Sharpness-Aware Minimization Generalize Better
Than SGD?" (arXiv 2310.07269). The network is that of models/two_layer_conv.py,
the data that of data/signal_noise.py: patches y mu with mu = ||mu|| e, and
xi_i. Every step moves the filters within the span of the noises and the signal,

  w_jr(t) = w_jr(0) + sum_i a_jri(t) xi_i + b_jr(t) e,

so that it only needs the inner products of w(0), xi and e. After `draw`, no
array has the dimension d, and all d and ||mu|| share one compiled program.

Axes: N examples; K = N + 1 directions, the noises and then e; J = 2 classes, of
which 1 counts positively; M filters of a class; S test examples; T steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# That of `sam.value_and_grad`.
NORM_EPS = 1e-12


class Start(NamedTuple):
  """Data and initial filters, by their inner products.

  Attributes:
    gram_KxK: of the directions.
    products_JxMxK: of w(0) with the directions.
    truth_N: the class of the signal, -1 or +1.
    signs_N: the label y, which may be wrong.
    test_gram_SxK: of the test noises with the directions.
    test_products_SxJxM: of the test noises with w(0).
    test_truth_S: the class of a test example.
  """

  gram_KxK: jax.Array
  products_JxMxK: jax.Array
  truth_N: jax.Array
  signs_N: jax.Array
  test_gram_SxK: jax.Array
  test_products_SxJxM: jax.Array
  test_truth_S: jax.Array


class Setting(NamedTuple):
  """What is trained, and how; numbers, which may be mapped over.

  Attributes:
    signal_norm: ||mu||.
    noise_patches: P - 1, how often the noise is in an input.
    factor: on the sum over filters and patches; 1 / M in the paper.
    learning_rate: eta.
    tau_T: radius of SAM's perturbation at every step; 0: gradient descent.
    weights_TxN: of the examples in the loss of every step: 1 / B in its batch
      of B, else 0.
  """

  signal_norm: jax.Array | float
  noise_patches: jax.Array | float
  factor: jax.Array | float
  learning_rate: jax.Array | float
  tau_T: jax.Array
  weights_TxN: jax.Array


class Filters(NamedTuple):
  """Filters at some step.

  Attributes:
    coefficients_JxMxK: a and b of the module.
    products_JxMxK: <w, direction>.
  """

  coefficients_JxMxK: jax.Array
  products_JxMxK: jax.Array


class Trace(NamedTuple):
  """What is seen before every step, [T, ...].

  Attributes:
    loss_T: over its batch.
    signal_TxJxM: gamma of `decompose`.
    noise_TxJxMxN: rho of `decompose`.
    num_active_T: pairs of an example in the batch and a filter of its label
      with <w, xi> >= 0, which learn the noise.
    num_off_T: those of them that the perturbation switches off, <w + eps, xi>
      < 0; see `switched_off`.
  """

  loss_T: jax.Array
  signal_TxJxM: jax.Array
  noise_TxJxMxN: jax.Array
  num_active_T: jax.Array
  num_off_T: jax.Array


def theory_tau(
  dim: float,
  *,
  num_filters: int,
  batch_size: int,
  num_patches: int,
  noise_scale: float,
) -> float:
  """Returns m sqrt(B) / (P sigma_p sqrt(d)), up to a constant Theorem 4.1's."""
  return num_filters * batch_size**0.5 / (num_patches * noise_scale * dim**0.5)


def threshold(
  dim: np.ndarray,
  constant: float,
  *,
  num_train: int,
  num_patches: int,
  noise_scale: float,
) -> np.ndarray:
  """Returns ||mu|| where n ||mu||^4 = C d P^4 sigma_p^4, Theorem 3.2.

  Above it, for some C, gradient descent generalizes; below it, for another, it
  does not.
  """
  ratio = constant * np.asarray(dim, float) / num_train
  return ratio**0.25 * num_patches * noise_scale


def condition_init_scale(
  dim: float, *, num_train: int, num_patches: int, noise_scale: float
) -> float:
  """Returns the largest sigma_0 of Condition 3.1, up to a constant.

  sqrt(n) / (P sigma_p d): then the initial filters say as little of a new noise
  as memorized ones do, sqrt(n / d).
  """
  return num_train**0.5 / (num_patches * noise_scale * dim)


def from_vectors(
  filters_JxMxD: np.ndarray,
  noises_NxD: np.ndarray,
  direction_D: np.ndarray,
  truth_N: np.ndarray,
  signs_N: np.ndarray,
  test_noises_SxD: np.ndarray,
  test_truth_S: np.ndarray,
) -> Start:
  """Returns the inner products of given vectors; `direction_D` is e."""
  vectors = _stack(filters_JxMxD, noises_NxD, direction_D)
  return _start(
    vectors @ vectors.T,
    test_noises_SxD @ vectors.T,
    filters_JxMxD.shape[1],
    truth_N,
    signs_N,
    test_truth_S,
  )


def draw(
  rng: np.random.Generator,
  *,
  dim: int,
  num_train: int,
  num_filters: int,
  noise_scale: float,
  num_test: int,
  init_scale: float | None = None,
) -> Start:
  """Returns a random data set without wrong labels, and initial filters.

  Given all other vectors, the inner products of a test noise with them are
  Gaussian, and sigma_p^2 times their Gram matrix is the covariance. So test
  noises need no vectors, and the test error has no other law than with them.

  Args:
    rng: of all draws.
    dim: d.
    num_train: n.
    num_filters: of each class, m.
    noise_scale: sigma_p.
    num_test: test examples.
    init_scale: sigma_0 of N(0, sigma_0^2); None: U(-1, 1) / sqrt(d).
  """
  shape = 2, num_filters, dim
  if init_scale is None:
    filters = (2 * rng.random(shape, np.float32) - 1) / dim**0.5
  else:
    filters = init_scale * rng.standard_normal(shape, np.float32)
  noises = noise_scale * rng.standard_normal((num_train, dim), np.float32)
  truth, test_truth = (
    2.0 * rng.integers(0, 2, size) - 1 for size in (num_train, num_test)
  )
  direction = np.zeros(dim, np.float32)
  direction[0] = 1
  vectors = _stack(filters, noises, direction)
  gram = (vectors @ vectors.T).astype(float)
  values, axes = np.linalg.eigh(gram)
  root = axes * np.sqrt(np.maximum(values, 0))
  normals = rng.standard_normal((num_test, len(gram)))
  tests = noise_scale * normals @ root.T
  return _start(gram, tests, num_filters, truth, truth, test_truth)


def _stack(
  filters_JxMxD: np.ndarray, noises_NxD: np.ndarray, direction_D: np.ndarray
) -> np.ndarray:
  flat = filters_JxMxD.reshape(-1, filters_JxMxD.shape[-1])
  return np.concatenate([flat, noises_NxD, direction_D[None]])


def _start(
  gram: np.ndarray,
  tests: np.ndarray,
  num_filters: int,
  truth_N: np.ndarray,
  signs_N: np.ndarray,
  test_truth_S: np.ndarray,
) -> Start:
  """Cuts the Gram matrix of `_stack`, and its products with test noises."""
  count = 2 * num_filters
  shape = 2, num_filters, -1

  def put(x: np.ndarray) -> jax.Array:
    return jnp.asarray(x, jnp.result_type(float))

  return Start(
    gram_KxK=put(gram[count:, count:]),
    products_JxMxK=put(gram[:count, count:].reshape(shape)),
    truth_N=put(truth_N),
    signs_N=put(signs_N),
    test_gram_SxK=put(tests[:, count:]),
    test_products_SxJxM=put(tests[:, :count].reshape(-1, *shape[:2])),
    test_truth_S=put(test_truth_S),
  )


def _outputs(
  of_noise_JxMxN: jax.Array,
  of_direction_JxM: jax.Array,
  truth_N: jax.Array,
  setting: Setting,
) -> jax.Array:
  """Returns f for inputs with these inner products, [N]."""
  signal_JxMxN = setting.signal_norm * jnp.einsum(
    "jm,n->jmn", of_direction_JxM, truth_N
  )
  hidden_JxMxN = jax.nn.relu(signal_JxMxN) + (
    setting.noise_patches * jax.nn.relu(of_noise_JxMxN)
  )
  by_class_JxN = jnp.sum(hidden_JxMxN, 1)
  return setting.factor * (by_class_JxN[1] - by_class_JxN[0])


def loss(
  products_JxMxK: jax.Array,
  start: Start,
  setting: Setting,
  weights_N: jax.Array,
) -> jax.Array:
  """Returns the weighted logistic loss of the training set, in nats.

  Its gradient has the coefficients of the filters' gradient in the directions.
  """
  outputs_N = _outputs(
    products_JxMxK[..., :-1], products_JxMxK[..., -1], start.truth_N, setting
  )
  return weights_N @ jax.nn.softplus(-start.signs_N * outputs_N)


def perturbation(
  products_JxMxK: jax.Array,
  start: Start,
  setting: Setting,
  tau: jax.Array | float,
  weights_N: jax.Array,
) -> jax.Array:
  """Returns <eps, direction> of SAM's eps = tau g / ||g||, [J, M, K].

  The norm is that of the gradient of all filters, in R^d.
  """
  slopes = jax.grad(loss)(products_JxMxK, start, setting, weights_N)
  moves = slopes @ start.gram_KxK
  norm = jnp.sqrt(jnp.maximum(jnp.sum(slopes * moves), 0))
  return tau / (norm + NORM_EPS) * moves


def switched_off(
  products_JxMxK: jax.Array,
  perturbed_JxMxK: jax.Array,
  start: Start,
  weights_N: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Returns how many filters the noises activate, and how many then no more.

  Lemma behind Theorem 4.1: for a tau of the order of `theory_tau`, if
  <w_jr, xi_i> >= 0 for the label j of an example i of the batch, then
  <w_jr + eps_jr, xi_i> < 0. So SAM's gradient does not learn the noise.
  """
  classes_J = jnp.array([-1, 1])
  counted_JxN = (classes_J[:, None] == start.signs_N[None]) & (weights_N > 0)[
    None
  ]
  active = (products_JxMxK[..., :-1] >= 0) & counted_JxN[:, None]
  off = active & (perturbed_JxMxK[..., :-1] < 0)
  return jnp.sum(active), jnp.sum(off)


def decompose(
  coefficients_JxMxK: jax.Array, start: Start, setting: Setting
) -> tuple[jax.Array, jax.Array]:
  """Returns gamma [J, M] and rho [J, M, N] of the filters.

  w_jr(t) = w_jr(0) + j gamma_jr mu / ||mu||^2 + sum_i rho_jri xi_i / ||xi_i||^2
  with j = -1 or +1: what was learned of the signal and of the noises.
  """
  classes_J = jnp.array([-1, 1])
  signal = coefficients_JxMxK[..., -1] * classes_J[:, None]
  squares_N = jnp.diagonal(start.gram_KxK)[:-1]
  noise = coefficients_JxMxK[..., :-1] * squares_N[None, None]
  return signal * setting.signal_norm, noise


def train(start: Start, setting: Setting) -> tuple[Filters, Trace]:
  """Returns the trained filters, and what was seen on the way."""

  def step(
    filters: Filters, at: tuple[jax.Array, jax.Array]
  ) -> tuple[Filters, Trace]:
    tau, weights_N = at
    coefficients, products = filters
    eps = perturbation(products, start, setting, tau, weights_N)
    perturbed = products + eps
    slopes = jax.grad(loss)(perturbed, start, setting, weights_N)
    signal, noise = decompose(coefficients, start, setting)
    num_active, num_off = switched_off(products, perturbed, start, weights_N)
    seen = Trace(
      loss_T=loss(products, start, setting, weights_N),
      signal_TxJxM=signal,
      noise_TxJxMxN=noise,
      num_active_T=num_active,
      num_off_T=num_off,
    )
    rate = setting.learning_rate
    after = Filters(
      coefficients - rate * slopes, products - rate * slopes @ start.gram_KxK
    )
    return after, seen

  first = start.products_JxMxK
  return jax.lax.scan(
    step,
    Filters(jnp.zeros_like(first), first),
    (setting.tau_T, setting.weights_TxN),
  )


def test_outputs(filters: Filters, start: Start, setting: Setting) -> jax.Array:
  """Returns f of the test examples, [S]."""
  of_noise = jnp.moveaxis(start.test_products_SxJxM, 0, -1) + (
    filters.coefficients_JxMxK @ start.test_gram_SxK.T
  )
  of_direction = filters.products_JxMxK[..., -1]
  return _outputs(of_noise, of_direction, start.test_truth_S, setting)


def test_error(filters: Filters, start: Start, setting: Setting) -> jax.Array:
  """Returns the fraction of test examples on the wrong side, a scalar."""
  outputs_S = test_outputs(filters, start, setting)
  return jnp.mean(outputs_S * start.test_truth_S <= 0)


def batch_weights(
  num_train: int, batch_size: int, num_epochs: int, seed: int = 0
) -> np.ndarray:
  """Returns `Setting.weights_TxN` of random partitions into batches.

  Raises:
    ValueError: the batch does not divide the examples.
  """
  if num_train % batch_size:
    raise ValueError(f"batch_size={batch_size} does not divide {num_train}")
  rng = np.random.default_rng(seed)
  order = np.concatenate(
    [rng.permutation(num_train) for _ in range(num_epochs)]
  )
  batches = order.reshape(-1, batch_size)
  weights = np.zeros((len(batches), num_train))
  np.put_along_axis(weights, batches, 1 / batch_size, axis=1)
  return weights
