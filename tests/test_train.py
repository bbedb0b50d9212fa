"""The production step: by hand, against its twin, on one and two devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import data
from data import dataset as dataset_lib
from tests import helpers
from training import metrics
from training import step as step_lib

pytestmark = pytest.mark.usefixtures("short_resnets")

MLP = {"model": "mlp", "num_neurons": (16, 8)}
RESNET = {"model": "resnet18", "num_filters": 2}


def _config(**fields):
  defaults = {
    "batch_size": 16,
    "num_epochs": 100,
    "lr_scheduler": "constant",
    "weight_decay": 1e-3,
    "rho": 0.1,
  }
  return helpers.config(**defaults | fields)


# --- by hand -----------------------------------------------------------------


def _line() -> dataset_lib.Dataset:
  """Two points on the line y = x; the model is k x + b."""
  x = np.array([[1.0], [2.0]], np.float32)
  split = dataset_lib.ArraySplit(x, x)
  return dataset_lib.Dataset(
    "line", {"train": split, "test": split}, (1,), 1, None
  )


def _line_trainer(k, b, **fields):
  c = _config(
    **{
      "num_neurons": (),
      "dataset": "teacher_student",
      "loss": "squared_error",
      "batch_size": 2,
      "dtype": "float64",
      "weight_decay": 0.1,
      "momentum": 0.9,
      "steps_per_call": 1,
      "rho": 34**0.5 / 10,
    }
    | fields
  )
  trainer = helpers.Trainer(c, _line())
  mask = trainer.state.mask
  dense = {"kernel": jnp.array([[float(k)]]), "bias": jnp.array([float(b)])}
  trainer.state = trainer.state.replace(params={"Dense_0": dense})
  assert (mask is None) == (c.sparsity == 0)
  return trainer


def _line_weights(state):
  dense = state.params["Dense_0"]
  return float(dense["kernel"][0, 0]), float(dense["bias"][0])


def _line_gradient(k, b):
  """Of ((k + b - 1)^2 + (2k + b - 2)^2) / 2."""
  r1, r2 = k + b - 1, 2 * k + b - 2
  return r1 + 2 * r2, r1 + r2


def test_sgd_steps_by_hand():
  with jax.enable_x64():
    trainer = _line_trainer(2, 0, optimizer="sgd")
    # r = (1, 2), gradient (5, 3), with decay (5.2, 3), times 0.1.
    assert _line_weights(trainer.run(1)) == pytest.approx((1.48, -0.3))
    # r = (.18, .66), gradient (1.5, .84), with decay (1.648, .81);
    # momentum .9 (5.2, 3) + that = (6.328, 3.51).
    want = (1.48 - 0.6328, -0.3 - 0.351)
    assert _line_weights(trainer.run(1)) == pytest.approx(want)
    values = trainer.metrics.compute()
    # Losses 5/2 and (.18^2 + .66^2)/2.
    assert float(values["loss"]) == pytest.approx((2.5 + 0.234) / 2)
    # Nothing was perturbed, so there is no such number.
    ((computed, _),) = metrics.compute(trainer.metrics)
    assert "sharpness" not in computed
    want = (34**0.5 + (1.5**2 + 0.84**2) ** 0.5) / 2
    assert float(values["gradient_norm"]) == pytest.approx(want)


def test_sam_steps_by_hand():
  with jax.enable_x64():
    trainer = _line_trainer(2, 0, optimizer="sam")
    # Gradient (5, 3), norm sqrt(34), perturbation (.5, .3);
    # at (2.5, .3): r = (1.8, 3.3), gradient (8.4, 5.1), with decay of the
    # unperturbed weights (8.6, 5.1).
    assert _line_weights(trainer.run(1)) == pytest.approx((1.14, -0.51))
    values = trainer.metrics.compute()
    assert float(values["loss"]) == pytest.approx(2.5)
    assert float(values["sharpness"]) == pytest.approx(
      (1.8**2 + 3.3**2) / 2 - 2.5
    )
    assert float(values["gradient_norm"]) == pytest.approx(np.hypot(8.4, 5.1))

    k, b = 1.14, -0.51
    g = np.array(_line_gradient(k, b))
    e = 34**0.5 / 10 * g / np.linalg.norm(g)
    g = np.array(_line_gradient(k + e[0], b + e[1])) + 0.1 * np.array([k, b])
    want = np.array([k, b]) - 0.1 * (0.9 * np.array([8.6, 5.1]) + g)
    assert _line_weights(trainer.run(1)) == pytest.approx(tuple(want))


def test_masked_sam_step_by_hand():
  with jax.enable_x64():
    trainer = _line_trainer(
      0, 0, optimizer="sam", rho=0.5, sparsity=1.0, pruner="magnitude"
    )
    # Only b moves: gradient -3, perturbation -.5, gradient there -4.
    assert _line_weights(trainer.run(1)) == pytest.approx((0, 0.4))
    trace = trainer.state.opt_state[2].trace["Dense_0"]
    assert float(trace["kernel"][0, 0]) == 0
    assert float(trace["bias"][0]) == pytest.approx(-4)


# --- invariants --------------------------------------------------------------


@pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
def test_rho_0_is_the_base_optimizer_bit_for_bit(model):
  dataset = helpers.toy_dataset()
  runs = []
  for ascend in (True, False):
    trainer = helpers.Trainer(_config(**model, optimizer="sam"), dataset)
    hparams = trainer.state.hparams | {"rho": jnp.float32(0)}
    trainer.state = trainer.state.replace(hparams=hparams)
    runs.append(trainer.run(20, ascend=ascend))
  helpers.assert_same_bits(runs[0].weights, runs[1].weights)
  helpers.assert_same_bits(runs[0].progress, runs[1].progress)


def test_learning_rate_0_leaves_the_weights():
  trainer = helpers.Trainer(
    _config(**MLP, learning_rate=0.0), helpers.toy_dataset()
  )
  before = jax.device_get(trainer.state.params)
  helpers.assert_same_bits(before, trainer.run(3).params)


def test_batch_norm_statistics_are_those_of_the_unperturbed_pass():
  dataset = helpers.toy_dataset()
  stats = {}
  for name in ("sam", "sgd"):
    c = _config(**RESNET, optimizer=name, rho=2.0)
    stats[name] = helpers.Trainer(c, dataset).run(1).model_state
  helpers.assert_same_bits(stats["sam"], stats["sgd"])
  means = [x for x in jax.tree.leaves(stats["sam"]) if (x != 0).any()]
  assert means


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("pruner", ["random", "magnitude", "snip"])
def test_pruned_weights_stay_zero(pruner, optimizer):
  c = _config(**MLP, pruner=pruner, sparsity=0.6, base_optimizer=optimizer)
  trainer = helpers.Trainer(c, helpers.toy_dataset())
  before = jax.device_get(trainer.state.params)
  state = trainer.run(10)
  mask = jax.device_get(state.mask)
  kernels = sum(int((~m).sum()) for m in jax.tree.leaves(mask))
  assert kernels > 0
  shaped = jax.tree.structure(mask)
  like_params = [
    x
    for x in jax.tree.leaves(
      state.opt_state, is_leaf=lambda x: jax.tree.structure(x) == shaped
    )
    if jax.tree.structure(x) == shaped
  ]
  assert len(like_params) == (1 if optimizer == "sgd" else 2)
  for tree in [before, state.params, *like_params]:
    pruned = jax.tree.map(lambda x, m: np.abs(x[~m]).max(initial=0), tree, mask)
    assert max(jax.tree.leaves(pruned)) == 0
  moved = jax.tree.map(
    lambda a, b, m: (a != b)[m].mean(), before, state.params, mask
  )
  assert min(jax.tree.leaves(moved)) > 0.5


def test_sam_window_keeps_momentum():
  """SAM in the middle half of training: three segments of one trajectory."""
  dataset = helpers.toy_dataset()
  c = _config(**MLP, num_train_steps=8, sam_begin=0.25, sam_end=0.75)
  whole = helpers.Trainer(c, dataset)
  assert whole.setup.sam_steps == range(2, 6)
  parts = helpers.Trainer(c, dataset)
  for count, ascend in ((2, False), (4, True), (2, False)):
    parts.run(count, ascend=ascend)
  # The chunk is compiled for one kind of step, so it stops at the ends.
  for end in (2, 6, 8):
    whole.run(end - whole.step)
  helpers.assert_same_bits(whole.state.progress, parts.state.progress)
  plain = helpers.Trainer(c, dataset).run(8, ascend=False)
  assert helpers.max_difference(plain.params, parts.state.params) > 1e-4


# --- the fast path against its plain twin ------------------------------------


@pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
def test_chunk_equals_the_plain_step(model):
  """One call of 4 steps equals 4 calls of `train_step` under vmap."""
  dataset = helpers.toy_dataset()
  with jax.enable_x64():
    c = _config(**model, dtype="float64", steps_per_call=4)
    fast = helpers.Trainer(c, dataset)
    plain = helpers.Trainer(c, dataset)
    fast.run(4)
    step = step_lib.create(plain.setup, None, ascend=True)
    step = jax.jit(jax.vmap(step, (None, 0), axis_name="batch", axis_size=1))
    split = dataset.splits["train"]
    state = plain.state
    for i in range(4):
      indices = plain.feed.rest_of_epoch(i)[0]
      batch = {
        "inputs": split.inputs[indices],
        "targets": split.targets[indices],
      }
      mapped, _ = step(state, jax.tree.map(lambda x: x[None], batch))
      state = jax.tree.map(lambda x: x[0], mapped)
    assert helpers.max_difference(state.weights, fast.state.weights) < 1e-12
    assert int(state.step) == int(fast.state.step) == 4


def test_chunk_length_does_not_change_the_bits():
  dataset = helpers.toy_dataset()
  runs = []
  for steps_per_call in (1, 3, 32):
    c = _config(**MLP, steps_per_call=steps_per_call)
    trainer = helpers.Trainer(c, dataset)
    trainer.run(20)
    runs.append(
      (trainer.state.weights, trainer.state.progress, trainer.metrics)
    )
  helpers.assert_same_bits(runs[0], runs[1])
  helpers.assert_same_bits(runs[0], runs[2])


# --- two devices -------------------------------------------------------------


def _one_and_two_devices(num_steps, **fields):
  c = _config(**{"batch_size": 32, "augment": True} | fields)
  digits = data.load(c)
  return [
    helpers.Trainer(c, digits, num_devices=n).run(num_steps).weights
    for n in (1, 2)
  ]


@pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
def test_devices_agree_with_fixed_microbatches(model):
  fields = {**model, "microbatch_size": 16}
  one, two = _one_and_two_devices(1, **fields)
  assert helpers.max_difference(one, two) < 1e-6
  with jax.enable_x64():
    one, two = _one_and_two_devices(50, **fields, dtype="float64")
    assert helpers.max_difference(one, two) < 1e-10


def test_devices_agree_with_synchronized_perturbation_and_batch_norm():
  fields = {**RESNET, "sync_perturbation": True, "sync_batch_norm": True}
  with jax.enable_x64():
    one, two = _one_and_two_devices(50, **fields, dtype="float64")
    assert helpers.max_difference(one, two) < 1e-10


def test_perturbation_is_per_device_by_default():
  """As published: m-SAM with m = batch / devices."""
  with jax.enable_x64():
    one, two = _one_and_two_devices(3, **MLP, dtype="float64")
    assert helpers.max_difference(one, two) > 1e-6


@pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
def test_all_shards_of_all_leaves_are_equal(model):
  """`out_axes=None` would silently pass outputs that differ by device."""
  trainer = helpers.Trainer(_config(**model), helpers.toy_dataset(), 2)
  trainer.run(2)
  for tree in (trainer.state, trainer.metrics):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
      shards = [np.asarray(s.data).tobytes() for s in leaf.addressable_shards]
      assert len(shards) == 2
      assert shards[0] == shards[1], jax.tree_util.keystr(path)
