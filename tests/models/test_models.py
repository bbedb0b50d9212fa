"""Width -> parameter count, and number formats."""

import jax
import jax.numpy as jnp
import pytest

import models
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
RESNET50_MILLIONS = {16: 1.994, 32: 6.918, 48: 14.772, 64: 25.557, 80: 39.273}


class Task:
  def __init__(self, num_outputs):
    self.num_outputs = num_outputs


def _variables(c, num_outputs, shape):
  model = models.create(c, Task(num_outputs))
  inputs = jnp.zeros((2, *shape))
  return jax.eval_shape(
    lambda: model.init(jax.random.key(0), inputs, train=False)
  )


def _num_parameters(c, num_outputs, shape):
  params = _variables(c, num_outputs, shape)["params"]
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


@pytest.mark.parametrize("model", ["mlp", "resnet18"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_dtypes(model, dtype):
  """bfloat16 computes in bfloat16, with float32 parameters."""
  c = helpers.config(model=model, dtype=dtype, num_filters=4)
  with jax.enable_x64(dtype == "float64"):
    variables = _variables(c, 3, (8, 8, 1))
    param_dtype = "float64" if dtype == "float64" else "float32"
    assert {str(x.dtype) for x in jax.tree.leaves(variables)} == {param_dtype}
    net = models.create(c, Task(3))
    inputs = jnp.zeros((2, 8, 8, 1))
    outputs = jax.eval_shape(
      lambda v: net.apply(v, inputs, train=False), variables
    )
    assert outputs.dtype == dtype
    jaxpr = str(
      jax.make_jaxpr(lambda v: net.apply(v, inputs, train=False))(variables)
    )
    product = "dot_general" if model == "mlp" else "conv_general_dilated"
    short = {"float32": "f32", "bfloat16": "bf16", "float64": "f64"}[dtype]
    lines = [line for line in jaxpr.splitlines() if f"= {product}" in line]
    assert lines
    assert all(f":{short}[" in line.split("=")[0] for line in lines)
