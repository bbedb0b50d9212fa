"""Which parameters are perturbed, and gradients taken part by part."""

import jax
import numpy as np
import pytest

from configs import errors
import data
import sam
from tests import helpers
from training import perturbed
from training import placement
from training import setup as setup_lib

# Paths of a small ViT and a small ResNet are like these.
PARAMS = {
  "Conv_0": {"kernel": 0.0},
  "BatchNorm_0": {"scale": 0.0, "bias": 0.0},
  "my_norm": {"scale": 0.0},
  "Block_1": {
    "Dense_0": {"kernel": 0.0, "bias": 0.0},
    "LayerNorm_0": {"bias": 0.0},
    "Scaled_0": {"kernel": 0.0, "scale": 0.0},
  },
}
NORMS = {
  "BatchNorm_0/scale",
  "BatchNorm_0/bias",
  "my_norm/scale",
  "Block_1/LayerNorm_0/bias",
}
PATHS = [
  jax.tree_util.keystr(path, simple=True, separator="/")
  for path, _ in jax.tree_util.tree_leaves_with_path(PARAMS)
]
DENSE = {"Block_1/Dense_0/kernel", "Block_1/Dense_0/bias"}
KERNELS = {
  "Conv_0/kernel",
  "Block_1/Dense_0/kernel",
  "Block_1/Scaled_0/kernel",
}


@pytest.mark.parametrize(
  ("pattern", "want"),
  [
    ("norm", NORMS),
    ("Dense_0", DENSE),
    ("Block_1/Dense_0/*", DENSE),
    ("Block_1/Dense_0/bias", {"Block_1/Dense_0/bias"}),
    ("kernel", KERNELS),
    ("Dense_*, norm", DENSE | NORMS),
    ("*", set(PATHS)),
  ],
)
def test_patterns(pattern, want):
  only = perturbed.predicate(helpers.config(perturb_only=pattern), PARAMS)
  assert {path for path in PATHS if only(path)} == want
  if want < set(PATHS):
    but = perturbed.predicate(helpers.config(perturb_except=pattern), PARAMS)
    assert {path for path in PATHS if but(path)} == set(PATHS) - want


@pytest.mark.parametrize(
  ("fields", "line"),
  [
    (
      {"perturb_only": "norm"},
      "'norm' matches none of the parameters Dense_0/",
    ),
    ({"perturb_only": "Dense_0,x"}, "'x' matches none of the parameters "),
    ({"perturb_only": "Dense_0,"}, "'' matches none of the parameters "),
    ({"perturb_except": "Dense_*"}, "leaves no parameter to perturb"),
  ],
)
def test_wrong_patterns(fields, line):
  config = helpers.config(**fields, batch_size=16)
  with pytest.raises(errors.ConfigError, match=line) as e:
    setup_lib.create(config, helpers.toy_dataset())
  ((name, value),) = fields.items()
  assert str(e.value).startswith(f"config.{name}={value!r}: ")


def test_a_step_perturbs_them_alone():
  """As one by hand, of a ViT whose normalization layers ascend."""
  fields = {"model": "vit", "hidden_size": 8, "head_size": 8, "num_layers": 1}
  config = helpers.config(
    **fields,
    batch_size=16,
    rho=0.5,
    learning_rate=1.0,
    momentum=0.0,
    lr_scheduler="constant",
    perturb_only="norm",
  )
  trainer = helpers.Trainer(config, helpers.toy_dataset())
  setup = trainer.setup
  before = jax.device_get(trainer.state.params)
  rows = trainer.feed.rest_of_epoch(0)[0]
  split = setup.dataset.splits["train"]
  batch = {
    "inputs": setup.dataset.normalize(split.inputs[rows]),
    "targets": split.targets[rows],
  }

  @jax.jit
  @jax.grad
  def gradient(params):
    return setup.loss_fn(params, {}, batch, jax.random.key(0))[0]

  ascent = gradient(before)
  ascent = {
    layer: jax.tree.map(
      lambda g, layer=layer: g * ("LayerNorm" in layer), ascent[layer]
    )
    for layer in ascent
  }
  assert {"LayerNorm_0", "Dense_0"} <= ascent.keys()
  scale = 0.5 / sam.global_norm(ascent)
  moved = jax.tree.map(lambda w, g: w + scale * g, before, ascent)
  want = jax.tree.map(lambda w, g: w - g, before, gradient(moved))
  got = trainer.run(1).params
  assert helpers.max_difference(got, want) < 1e-5


@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_accumulation_equals_the_large_batch(optimizer, num_devices):
  """To the last bits of float64, in which the sums have another order."""

  def after(parts):
    config = helpers.config(
      optimizer=optimizer,
      dtype="float64",
      num_neurons=(8,),
      batch_size=32,
      gradient_accumulation=parts,
    )
    trainer = helpers.Trainer(config, helpers.toy_dataset(), num_devices)
    return jax.device_get(trainer.run(10).params)

  with jax.enable_x64(True):
    whole, parts = after(1), after(4)
  assert helpers.max_difference(whole, parts) < 1e-13


def test_accumulation_must_divide_the_batch_of_a_device():
  config = helpers.config(gradient_accumulation=3, batch_size=128)
  with pytest.raises(errors.ConfigError, match="must divide the 64 examples"):
    placement.check(config, 2)


def test_norm_is_found_in_our_models():
  for model, layer in (("resnet18", "norm"), ("vit", "layernorm")):
    config = helpers.config(model=model, num_filters=2, hidden_size=8)
    config.perturb_only = "norm"
    setup = setup_lib.create(config, data.load(config))
    variables = jax.eval_shape(
      lambda setup=setup: setup.model.init(
        jax.random.key(0), np.zeros((1, 8, 8, 1)), train=False
      )
    )
    for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"]):
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      assert setup.perturbs(name) == (
        layer in name.lower() or name.startswith("bn_")
      ), name
