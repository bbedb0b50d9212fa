"""SAM's gradient against hand-worked numbers and its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sam
from sam import gradient


def quadratic(params, batch):
  """mean over the batch of x/2 (3 a^2 + b^2), so the gradient is x (3a, b)."""
  loss_B = batch["x"] * (3 * params["a"] ** 2 + params["b"] ** 2) / 2
  return jnp.mean(loss_B), {"per_example": loss_B}


PARAMS = {"a": jnp.float32(1), "b": jnp.float32(4)}  # Gradient (3, 4), norm 5.
BATCH = {"x": jnp.ones(4)}


@pytest.mark.parametrize(
  ("kind", "want"),
  [
    # w + eps = (1 + .6, 4 + .8)
    ("normalized", (4.8, 4.8)),
    # w + eps = (1 + 3, 4 + 4)
    ("unnormalized", (12.0, 8.0)),
    # T = (1, 4), T g = (3, 16), eps = T^2 g / ||T g|| = (3, 64) / sqrt(265)
    ("adaptive", (3 + 9 / 265**0.5, 4 + 64 / 265**0.5)),
  ],
)
def test_gradient_by_hand(kind, want):
  grad_fn = sam.value_and_grad(quadratic, perturbation=kind, asam_eta=0.0)
  (loss, aux), grads = grad_fn(PARAMS, BATCH, jnp.float32(1))
  assert float(loss) == pytest.approx(9.5)
  np.testing.assert_allclose([grads["a"], grads["b"]], want, rtol=1e-6)
  a, b = want[0] / 3, want[1]
  assert float(aux["perturbed_loss"]) == pytest.approx((3 * a * a + b * b) / 2)
  np.testing.assert_allclose(aux["per_example"], 9.5)


def _norm(tree):
  return np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(tree)))


@pytest.mark.parametrize("rho", [0.01, 0.5, 7.0])
def test_perturbation_has_length_rho_in_the_stored_dtype(rho):
  keys = jax.random.split(jax.random.key(0), 2)
  params = {"w": jax.random.normal(keys[0], (300, 100)), "b": jnp.zeros(100)}
  grads = jax.tree.map(lambda x: 1e-3 * (x + 1), params)
  eps = gradient.perturbation_from(grads, params, jnp.float32(rho))
  assert {x.dtype for x in jax.tree.leaves(eps)} == {jnp.dtype("float32")}
  assert _norm(eps) == pytest.approx(rho, rel=1e-5)
  adaptive = gradient.perturbation_from(
    grads, params, jnp.float32(rho), kind="adaptive"
  )
  scaled = jax.tree.map(lambda e, w: e / (abs(w) + 0.01), adaptive, params)
  assert _norm(scaled) == pytest.approx(rho, rel=1e-5)


@pytest.mark.parametrize("kind", ["normalized", "unnormalized", "adaptive"])
def test_zero_gradient_gives_zero_perturbation(kind):
  grad_fn = sam.value_and_grad(quadratic, perturbation=kind)
  zero = jax.tree.map(jnp.zeros_like, PARAMS)
  (_, aux), grads = grad_fn(zero, BATCH, jnp.float32(0.5))
  assert jax.tree.leaves(grads) == [0, 0]
  assert aux["perturbed_loss"] == 0
  norm_grad = jax.grad(gradient.global_norm)(zero)
  assert jax.tree.leaves(norm_grad) == [0, 0]


@pytest.mark.parametrize("kind", ["normalized", "adaptive"])
def test_ascent_steps_stay_in_the_ball_and_ascend(kind):
  key = jax.random.key(1)
  params = {"w": jax.random.normal(key, (6, 3))}
  batch = {"x": jax.random.normal(jax.random.key(2), (32, 6))}

  def loss_fn(params, batch):
    out = jnp.tanh(batch["x"] @ params["w"])
    return jnp.mean(jnp.sum(out**2, -1)), {"w": params["w"]}

  losses = []
  for steps in (1, 2, 5, 20):
    seen = []

    def spy(params, batch, seen=seen):
      seen.append(params["w"])
      return loss_fn(params, batch)

    grad_fn = sam.value_and_grad(spy, perturbation=kind, ascent_steps=steps)
    with jax.disable_jit():
      (_, aux), _ = grad_fn(params, batch, jnp.float32(0.3))
    assert len(seen) == steps + 1
    for w in seen[1:]:
      eps = _value(w) - np.asarray(params["w"])
      if kind == "adaptive":
        eps = eps / (np.abs(params["w"]) + 0.01)
      assert np.linalg.norm(eps) <= 0.3 * (1 + 1e-5)
    losses.append(float(aux["perturbed_loss"]))
  # More ascent never finds a lower point in this smooth, small ball.
  assert losses == sorted(losses)
  assert losses[-1] > losses[0]


def _value(x):
  """The concrete value of an array that is being differentiated."""
  while hasattr(x, "primal"):
    x = x.primal
  return np.asarray(x)


@pytest.mark.parametrize("num_microbatches", [4, 16])  # Unrolled, and a loop.
def test_microbatches_have_their_own_perturbations(num_microbatches):
  size = 2
  total = num_microbatches * size
  params = {"w": jnp.array([[0.3], [-0.7]])}
  batch = {
    "x": jax.random.normal(jax.random.key(0), (total, 2)),
    "y": jax.random.normal(jax.random.key(1), (total, 1)),
  }

  def loss_fn(params, batch):
    loss_B = jnp.sum((batch["x"] @ params["w"] - batch["y"]) ** 2, -1)
    return jnp.mean(loss_B), {"per_example": loss_B, "mean": jnp.mean(loss_B)}

  def merge(aux):
    return {"per_example": aux["per_example"].reshape(-1), "mean": aux["mean"]}

  grad_fn = sam.value_and_grad(loss_fn, microbatch_size=size, merge_aux=merge)
  (loss, aux), grads = grad_fn(params, batch, jnp.float32(0.2))

  whole = sam.value_and_grad(loss_fn)
  parts = [
    whole(
      params,
      jax.tree.map(lambda x, i=i: x[i * size : (i + 1) * size], batch),
      jnp.float32(0.2),
    )
    for i in range(num_microbatches)
  ]
  np.testing.assert_allclose(
    grads["w"], np.mean([p[1]["w"] for p in parts], 0), rtol=2e-6
  )
  assert float(loss) == pytest.approx(np.mean([p[0][0] for p in parts]))
  perturbed = [p[0][1]["perturbed_loss"] for p in parts]
  assert float(aux["perturbed_loss"]) == pytest.approx(np.mean(perturbed))
  per_example = np.concatenate([p[0][1]["per_example"] for p in parts])
  np.testing.assert_allclose(aux["per_example"], per_example, rtol=1e-6)


def test_microbatch_size_must_divide_the_batch():
  grad_fn = sam.value_and_grad(quadratic, microbatch_size=3)
  with pytest.raises(ValueError, match="microbatch_size=3"):
    grad_fn(PARAMS, BATCH, jnp.float32(0.1))


def test_without_microbatches_the_batch_is_up_to_the_loss():
  """It may hold a key, of which both passes draw the same."""

  def noisy(params, key):
    noise = jax.random.normal(key, (2,))
    return params["a"] * noise[0] + params["b"] * noise[1], {}

  key = jax.random.key(0)
  (loss, aux), grads = sam.value_and_grad(noisy)(PARAMS, key, 0.1)
  noise = jax.random.normal(key, (2,))
  assert [grads["a"], grads["b"]] == noise.tolist()
  rise = float(aux["perturbed_loss"] - loss)
  assert rise == pytest.approx(0.1 * float(jnp.linalg.norm(noise)), rel=1e-5)


def test_what_is_not_as_described():
  with pytest.raises(TypeError, match="aux must be a dict, and is a tuple"):
    sam.value_and_grad(lambda p, b: (p["a"], (b,)))(PARAMS, BATCH, 0.1)
  grad_fn = sam.value_and_grad(quadratic, perturbation="adaptiv")
  with pytest.raises(ValueError, match="'adaptiv': must be normalized, "):
    grad_fn(PARAMS, BATCH, 0.1)


@pytest.mark.parametrize(
  ("kind", "ascent_steps", "want"),
  [
    # Of the gradient (3, 4), only a moves: by 1, or by 3. T = (1, 4), so that
    # T g is 3, and eps 3 / 3. The ball stops further steps.
    ("normalized", 1, (6.0, 4.0)),
    ("normalized", 3, (6.0, 4.0)),
    ("unnormalized", 1, (12.0, 4.0)),
    ("adaptive", 1, (6.0, 4.0)),
    ("adaptive", 3, (6.0, 4.0)),
  ],
)
def test_only_some_parameters_are_perturbed_by_hand(kind, ascent_steps, want):
  grad_fn = sam.value_and_grad(
    quadratic,
    perturbation=kind,
    asam_eta=0.0,
    ascent_steps=ascent_steps,
    perturbs=lambda path: path == "a",
  )
  _, grads = grad_fn(PARAMS, BATCH, jnp.float32(1))
  np.testing.assert_allclose([grads["a"], grads["b"]], want, rtol=1e-6)


def two_directions(params, batch):
  """mean of (x a^2 + y b^2) / 2, so the gradient is (x a, y b)."""
  loss_B = (batch["x"] * params["a"] ** 2 + batch["y"] * params["b"] ** 2) / 2
  return jnp.mean(loss_B), {"per_example": loss_B}


# At (1, 1) the halves have gradients (6, 0) and (0, 8): together (3, 4).
HALVES = {
  "x": jnp.array([4.0, 8.0, 0.0, 0.0]),
  "y": jnp.array([0.0, 0.0, 8.0, 8.0]),
}
ONES = {"a": jnp.float32(1), "b": jnp.float32(1)}


@pytest.mark.parametrize(
  ("options", "want"),
  [
    # One perturbation for all, (3, 4): at (4, 5), (3 * 4, 4 * 5).
    ({}, (12, 20)),
    ({"accumulation": 2}, (12, 20)),
    ({"accumulation": 4}, (12, 20)),
    # One each, (5, 0) and (0, 5): the mean of (6 * 6, 0) and (0, 8 * 6).
    ({"microbatch_size": 2}, (18, 24)),
    ({"microbatch_size": 2, "accumulation": 2}, (18, 24)),
  ],
)
def test_accumulation_by_hand(options, want):
  """All of it is exact in binary, so the bits are those of the whole batch."""
  merge = {"merge_aux": lambda aux: jax.tree.map(jnp.ravel, aux)}
  grad_fn = jax.jit(sam.value_and_grad(two_directions, **options, **merge))
  (loss, aux), grads = grad_fn(ONES, HALVES, jnp.float32(5))
  assert (float(grads["a"]), float(grads["b"])) == want
  assert float(loss) == 3.5
  np.testing.assert_array_equal(aux["per_example"], [2, 4, 4, 4])
  plain = sam.accumulated(two_directions, 2, merge["merge_aux"])
  (loss, aux), grads = plain(ONES, HALVES)
  assert (float(loss), float(grads["a"]), float(grads["b"])) == (3.5, 3, 4)
  assert aux.keys() == {"per_example"}


def test_accumulation_must_divide_the_batch():
  grad_fn = sam.value_and_grad(quadratic, accumulation=3)
  with pytest.raises(ValueError, match="3 parts do not divide the 4 examples"):
    grad_fn(PARAMS, BATCH, jnp.float32(1))
