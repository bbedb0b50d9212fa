"""What the benchmark of accelerators counts, and what it states."""

import subprocess

import jax
import numpy as np
import pytest

from benchmarks import accelerator
from benchmarks import chunks
from benchmarks import step_time
from tests import helpers
from training import setup as setup_lib

SHAPE = (8, 8, 1)


def setup(**fields):
  c = chunks.create_config(**fields)
  return setup_lib.create(c, helpers.toy_dataset(128, SHAPE))


@pytest.mark.parametrize(("ascend", "gradients"), [(False, 1), (True, 2)])
def test_counts_the_products_of_a_step(ascend, gradients):
  """No gradient with respect to images; what is not a product is little."""
  found = accelerator.step_flop(setup(num_neurons=(256, 256)), ascend)
  first, others = 64 * 256, 256 * 256 + 256 * 4
  want = gradients * 128 * (4 * first + 6 * others)
  assert want < found < 1.06 * want


@pytest.mark.parametrize(
  ("precision", "attribute"),
  [("tf32", "DEFAULT"), ("bfloat16", "DEFAULT"), ("float32", "HIGHEST")],
)
def test_products_have_the_precision(precision, attribute):
  """No layer sets its own; DEFAULT is tf32 on a GPU."""
  dtype, of_products = accelerator.PRECISIONS[precision]
  s = setup(model="resnet18", num_filters=2, dtype=dtype)
  images = jax.ShapeDtypeStruct((1, *SHAPE), "float32")
  with jax.default_matmul_precision(of_products):
    jaxpr = jax.make_jaxpr(lambda x: s.model.init(jax.random.key(0), x))(images)
  text = str(jaxpr)
  assert "conv_general_dilated" in text
  found = {line.split(".")[-1] for line in text.split() if "Precision." in line}
  assert {x.strip(",)") for x in found} == {attribute}


@pytest.mark.parametrize("static", [False, True])
def test_xla_sees_a_constant_number_of_steps(static):
  chunk = chunks.Chunks(setup(num_neurons=(2,)), ascend=True, static=static)
  count = np.int32(chunk.steps)
  lowered = chunk._chunk.lower(
    chunk._state, chunk._metrics, count, chunk._feed, chunk._resident
  )
  assert lowered.compile().as_text().count("known_trip_count") == static


def test_pytorchs_failure_is_stated(monkeypatch):
  def fail(*args, **kwargs):
    raise subprocess.TimeoutExpired("torch", 60)

  monkeypatch.setattr(step_time, "torch_resnets", fail)
  row = {"precision": "tf32", "sam_ms": 1.0}
  found = accelerator.torch_beside(row, 4, timeout=60)
  assert found == {"torch_error": "Command 'torch' timed out after 60 seconds"}
  monkeypatch.setattr(step_time, "torch_resnets", lambda *a, **k: {"4": 3.0})
  found = accelerator.torch_beside(row, 4, timeout=60)
  assert (found["torch_ms"], found["torch_ratio"]) == (3.0, 3.0)
  monkeypatch.setattr(step_time, "torch_resnets", lambda *a, **k: {})
  assert accelerator.torch_beside(row, 4, timeout=60) == {}


def test_times_what_it_says():
  assert accelerator.matmul_rate(64, "bfloat16", 0.0, repeats=1) > 0
