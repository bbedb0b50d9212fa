"""Width -> parameter count, forward passes by hand, and number formats."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import kinds
from configs import ppo_breakout
from data import breakout
import models
from models import actor_critic
from models import transformer
from models import vit
from tests import helpers

# Parameter counts of Shin et al. (UAI 2025), Figures 1 and 7.
MNIST = {
  (30, 10): 23_970,
  (75, 25): 61_035,
  (150, 50): 125_810,
  (300, 100): 266_610,
  (1200, 400): 1_426_410,
  (3000, 1000): 5_366_010,
}
RESNET18 = {
  4: 44_622,
  8: 176_402,
  16: 701_466,
  24: 1_575_202,
  32: 2_797_610,
  64: 11_173_962,
  128: 44_662_922,
  256: 178_585_866,
}
# Of Figure 5e, in millions.
VIT_MILLIONS = {
  32: "0.055",
  64: "0.209",
  128: "0.811",
  256: "3.2",
  512: "12.7",
  1024: "50.5",
}
# In millions; words and tags together are 34,000.
TRANSFORMER_MILLIONS = {
  128: "5.54",
  256: "13.4",
  384: "23.7",
  512: "36.3",
  640: "51.3",
}
# With the vocabulary of the example of Flax; the paper prints 0.5, 1.1, 2.5,
# 5.8, 10.0 and 15.1.
LSTM_MILLIONS = {
  32: "0.52",
  64: "1.10",
  128: "2.38",
  256: "5.46",
  384: "9.24",
  512: "13.7",
}
ACTOR_CRITIC = {16: 424_533, 32: 1_686_693, 48: 3_786_485, 64: 6_723_909}
RESNET50_MILLIONS = {16: 1.994, 32: 6.918, 48: 14.772, 64: 25.557, 80: 39.273}


class Task:
  def __init__(self, num_outputs, vocabulary_size=None):
    self.num_outputs = num_outputs
    self.vocabulary_size = vocabulary_size
    self.padding = vocabulary_size and 0


def _variables(c, num_outputs, shape, vocabulary_size=None):
  model = models.create(c, Task(num_outputs, vocabulary_size))
  inputs = jnp.zeros((2, *shape), int if vocabulary_size else float)
  return jax.eval_shape(
    lambda: model.init(jax.random.key(0), inputs, train=False)
  )


def _num_parameters(c, *args):
  params = _variables(c, *args)["params"]
  return sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.parametrize(("num_neurons", "want"), MNIST.items())
def test_mlp_parameters(num_neurons, want):
  c = helpers.config(model="mlp", num_neurons=num_neurons)
  assert _num_parameters(c, 10, (28, 28, 1)) == want


def test_teacher_student_parameters():
  c = helpers.config(model="mlp", num_neurons=(100,))
  assert _num_parameters(c, 1, (100,)) == 10_201


@pytest.mark.parametrize(("num_filters", "want"), RESNET18.items())
def test_resnet18_parameters(num_filters, want):
  c = helpers.config(model="resnet18", num_filters=num_filters)
  assert _num_parameters(c, 10, (32, 32, 3)) == want


# The depths of Shin et al., Figure 17, in millions at 64 filters.
@pytest.mark.parametrize(
  ("blocks", "millions"), [(1, 4.90), (2, 11.17), (8, 48.80)]
)
def test_resnet18_depths(blocks, millions):
  c = helpers.config(model="resnet18", blocks_per_stage=blocks)
  assert round(_num_parameters(c, 10, (32, 32, 3)) / 1e6, 2) == millions


@pytest.mark.parametrize(("num_filters", "millions"), RESNET50_MILLIONS.items())
def test_resnet50_parameters(num_filters, millions):
  c = helpers.config(model="resnet50", num_filters=num_filters)
  count = _num_parameters(c, 1000, (224, 224, 3))
  assert round(count / 1e6, 3) == millions


def _in_millions(count, like):
  return f"{count / 1e6:.{len(like.split('.')[1])}f}"


@pytest.mark.parametrize(("hidden_size", "millions"), VIT_MILLIONS.items())
def test_vit_parameters(hidden_size, millions):
  c = helpers.config(model="vit", hidden_size=hidden_size)
  assert _in_millions(_num_parameters(c, 10, (32, 32, 3)), millions) == millions


def test_vit_patches_are_squares_of_the_image():
  images = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
  got = vit.patches(jnp.asarray(images), 2)
  want = [
    images[:, i : i + 2, j : j + 2].reshape(2, 12)
    for i in (0, 2)
    for j in (0, 2, 4)
  ]
  np.testing.assert_array_equal(got.reshape(2, 6, 12), np.stack(want, 1))


@pytest.mark.parametrize(("side", "channels"), [(4, 4), (2, 3)])
def test_block_conv_is_a_convolution_with_stride(side, channels):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(2, 5 * side, 5 * side, channels))
  kernel = rng.normal(size=(2 * side, 2 * side, channels, 6))
  with jax.enable_x64(True):
    want = jax.lax.conv_general_dilated(
      images,
      kernel,
      (side, side),
      "VALID",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    in_blocks = vit.patches(kernel.transpose(3, 0, 1, 2), side)
    params = {"kernel": in_blocks.transpose(1, 2, 3, 0), "bias": np.zeros(6)}
    got = actor_critic.BlockConv(6, np.float64, np.float64).apply(
      {"params": params}, vit.patches(images, side)
    )
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("num_filters", "want"), ACTOR_CRITIC.items())
def test_actor_critic_parameters(num_filters, want):
  c = ppo_breakout.get_config()
  c.num_filters = num_filters
  num_outputs = breakout.NUM_ACTIONS + 1
  assert _num_parameters(c, num_outputs, breakout.FRAMES) == want


@pytest.mark.parametrize(
  ("hidden_size", "heads"), [(16, 1), (32, 1), (64, 2), (96, 3)]
)
def test_vit_has_a_head_for_32_numbers(hidden_size, heads):
  c = helpers.config(model="vit", hidden_size=hidden_size, num_layers=1)
  params = _variables(c, 10, (8, 8, 1))["params"]
  kernel = params["MultiHeadDotProductAttention_0"]["query"]["kernel"]
  assert kernel.shape == (hidden_size, heads, hidden_size // heads)


@pytest.mark.parametrize(
  ("hidden_size", "millions"), TRANSFORMER_MILLIONS.items()
)
def test_transformer_parameters(hidden_size, millions):
  c = helpers.config(
    dataset="grc_perseus",
    model="transformer",
    hidden_size=hidden_size,
    head_size=64,
  )
  count = _num_parameters(c, 800, (9,), 33_200)
  assert _in_millions(count, millions) == millions


@pytest.mark.parametrize(("hidden_size", "millions"), LSTM_MILLIONS.items())
def test_lstm_parameters(hidden_size, millions):
  c = helpers.config(dataset="sst2", model="lstm", hidden_size=hidden_size)
  count = _num_parameters(c, 2, (9,), 13_523)
  assert _in_millions(count, millions) == millions


def test_sinusoids_by_hand():
  got = transformer.sinusoids(3, 4)
  want = [
    [np.sin(p), np.cos(p), np.sin(p / 100), np.cos(p / 100)] for p in range(3)
  ]
  np.testing.assert_allclose(got, want)


def _vgg11_parameters(f, channels, num_outputs):
  """Of the widths in Simonyan and Zisserman's Table 1, for one last pixel."""
  widths = [channels, f, 2 * f, 4 * f, 4 * f, 8 * f, 8 * f, 8 * f, 8 * f]
  convolutions = sum((9 * a + 1) * b for a, b in itertools.pairwise(widths))
  return convolutions + (8 * f + 1) * num_outputs


@pytest.mark.parametrize(
  ("num_filters", "shape", "want"),
  [
    (64, (32, 32, 3), 9_225_610),
    (8, (32, 32, 3), _vgg11_parameters(8, 3, 10)),
    (8, (8, 8, 1), _vgg11_parameters(8, 1, 10)),
    (8, (28, 28, 1), _vgg11_parameters(8, 1, 10)),
  ],
)
def test_vgg11_parameters(num_filters, shape, want):
  """Images are pooled to one pixel, and never to none."""
  c = helpers.config(model="vgg11", num_filters=num_filters)
  assert _num_parameters(c, 10, shape) == want
  assert _vgg11_parameters(64, 3, 10) == 9_225_610


def test_vgg11_starts_as_he_et_al():
  c = helpers.config(model="vgg11", num_filters=8)
  images = np.random.default_rng(0).normal(size=(64, 32, 32, 3))
  model = models.create(c, Task(10))
  variables = model.init(jax.random.key(0), jnp.array(images, jnp.float32))
  kernel = variables["params"]["Conv_7"]["kernel"]
  assert float(kernel.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def _two_layer(**fields):
  c = helpers.config(model="two_layer", num_neurons=(3,), **fields)
  return models.create(c, Task(2))


ACTIVATIONS = {
  "relu": lambda x: np.maximum(x, 0),
  "linear": lambda x: x,
  "softplus": lambda x: np.log(1 + np.exp(x)),
}


@pytest.mark.parametrize("trained_layers", ["all", "first"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_two_layer_forward(activation, use_bias, trained_layers):
  model = _two_layer(
    activation=activation,
    use_bias=use_bias,
    trained_layers=trained_layers,
    initialization="lazy",
  )
  x = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
  variables = model.init(jax.random.key(0), x)
  first = variables["params"]["first"]
  assert set(first) == ({"kernel", "bias"} if use_bias else {"kernel"})
  collection = "params" if trained_layers == "all" else "fixed"
  readout = variables[collection]["second"]["kernel"]
  num_parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
  assert num_parameters == 12 + 3 * use_bias + 6 * (trained_layers == "all")
  hidden = x.reshape(5, 4) @ first["kernel"] + (
    np.asarray(first["bias"])[None] if use_bias else 0
  )
  want = ACTIVATIONS[activation](hidden) @ readout
  np.testing.assert_allclose(model.apply(variables, x), want, rtol=1e-5)


@pytest.mark.parametrize(
  "initialization", ["default", "one_dimensional", "lazy"]
)
def test_two_layer_initialization(initialization):
  """Every seed has its own; what is trained does not change it."""
  fields = {"model": "two_layer", "initialization": initialization}

  def initial(seed, trained_layers):
    c = helpers.config(
      num_neurons=(4000,), trained_layers=trained_layers, **fields
    )
    model = models.create(c, Task(1))
    variables = model.init(jax.random.key(seed), jnp.zeros((1, 2)))
    readout = variables["fixed" if trained_layers == "first" else "params"]
    return variables["params"]["first"] | {
      "readout": readout["second"]["kernel"]
    }

  start = initial(0, "all")
  helpers.assert_same_bits(start, initial(0, "first"))
  other = initial(1, "all")
  assert (start["kernel"] != other["kernel"]).any()
  kernel, bias, readout = (start[k] for k in ("kernel", "bias", "readout"))
  std = {
    "default": (0.5**0.5, 0, 4000**-0.5),
    "one_dimensional": (2.5, 2.5, 4),
    "lazy": (4000**-0.5, 4000**-0.5, 1),
  }[initialization]
  got = kernel.std(), bias.std(), readout.std()
  np.testing.assert_allclose(got, std, rtol=0.05)
  if initialization == "one_dimensional":
    assert set(np.unique(kernel)) == {-2.5, 2.5}
  else:
    assert (kernel[0] != kernel[1]).all()


@pytest.mark.parametrize(
  "model",
  ["mlp", "two_layer", "resnet18", "vgg11", "vit", "transformer", "lstm"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_dtypes(model, dtype):
  """bfloat16 computes in bfloat16, with float32 parameters."""
  dataset = {"transformer": "hidden_markov", "lstm": "lexicon"}
  c = helpers.config(
    model=model,
    dataset=dataset.get(model, "digits"),
    dtype=dtype,
    num_filters=4,
    num_neurons=(8,),
    trained_layers="first",
  )
  is_text = model in kinds.TEXT_MODELS
  shape, vocabulary_size = ((8,), 5) if is_text else ((8, 8, 1), None)
  with jax.enable_x64(dtype == "float64"):
    variables = _variables(c, 3, shape, vocabulary_size)
    param_dtype = "float64" if dtype == "float64" else "float32"
    assert {str(x.dtype) for x in jax.tree.leaves(variables)} == {param_dtype}
    net = models.create(c, Task(3, vocabulary_size))
    inputs = jnp.zeros((2, *shape), int if is_text else float)
    outputs = jax.eval_shape(
      lambda v: net.apply(v, inputs, train=False), variables
    )
    assert outputs.dtype == dtype
    jaxpr = str(
      jax.make_jaxpr(lambda v: net.apply(v, inputs, train=False))(variables)
    )
    convolutional = model in kinds.CONVOLUTIONAL_MODELS
    product = "conv_general_dilated" if convolutional else "dot_general"
    short = {"float32": "f32", "bfloat16": "bf16", "float64": "f64"}[dtype]
    lines = [line for line in jaxpr.splitlines() if f"= {product}" in line]
    assert lines
    assert all(f":{short}[" in line.split("=")[0] for line in lines)
