"""What a chip must show: ResNet-18's steps in three precisions, and loops.

  python -m benchmarks.accelerator [--out=FILE.json]

In float32, tf32 and bfloat16 (float32 parameters), batch 128, 32x32: the steps
of SGD and of SAM; PyTorch's step of SAM beside it (optional; channels last, a
process of its own, compiled on a GPU); and which share of the rate of large
products of matrices in the same precision, measured just before, SAM's step
reaches. Its operations are counted by XLA, before it optimizes; products with
padding do not count. Then, chunks whose number of steps is an argument, as
training has them, against those for one number alone.

Goals on a GPU: PyTorch's speed, 40 % of the products' rate, SAM at most 2.0
times SGD. On a CPU, where tf32 is float32, all is smaller. A program of
PyTorch's that fails is stated, and the exit code is then 1.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import subprocess
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import chunks
from benchmarks import outcome
from benchmarks import step_time
from program import jax_setup
from training import setup as setup_lib
from training import state as state_lib
from training import step

# By name: the dtype of the model, and JAX's precision of products. Its default
# is tf32 on a GPU that has it. The most telling come first.
PRECISIONS = {
  "tf32": ("float32", "default"),
  "bfloat16": ("bfloat16", "default"),
  "float32": ("float32", "highest"),
}
MIN_TORCH_RATIO, MIN_SHARE = 1.0, 0.4
COMMON = {"weight_decay": 1e-4, "lr_scheduler": "constant"}


def matmul_rate(size: int, dtype: str, seconds: float, repeats: int) -> float:
  """Returns the FLOP a second of products of square matrices: the best."""
  a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
  product = jax.jit(jnp.matmul)

  def call_seconds(num_calls: int) -> float:
    start = time.perf_counter()
    for _ in range(num_calls):
      c = product(a, b)
    jax.block_until_ready(c)
    return (time.perf_counter() - start) / num_calls

  call_seconds(3)  # Compiles.
  num_calls = max(1, round(seconds / call_seconds(1)))
  return 2 * size**3 / min(call_seconds(num_calls) for _ in range(repeats))


def step_flop(setup: setup_lib.Setup, ascend: bool) -> float:
  """Returns the floating-point operations of a training step."""
  state = jax.eval_shape(lambda: state_lib.create_states(setup)[0])
  size = setup.config.batch_size
  batch = {
    "inputs": jax.ShapeDtypeStruct((size, *setup.dataset.input_shape), "uint8"),
    "targets": jax.ShapeDtypeStruct((size,), "int32"),
  }
  one_step = jax.jit(step.create(setup, None, ascend=ascend))
  costs: Any = one_step.lower(state, batch).cost_analysis()
  return costs["flops"]


def in_precision(
  precision: str,
  filters: int,
  *,
  matmul_size: int,
  seconds: float,
  repeats: int,
) -> dict[str, Any]:
  """Times products, and the steps of SGD and SAM, in one precision."""
  dtype, of_products = PRECISIONS[precision]
  model = {"model": "resnet18", "num_filters": filters, "dtype": dtype}
  shape = step_time.CIFAR_SHAPE
  with jax.default_matmul_precision(of_products):
    rate = matmul_rate(matmul_size, dtype, seconds, repeats)
    setup = chunks.create_setup(shape, **model, **COMMON)
    flop = step_flop(setup, ascend=True)
    row = step_time.sam_over_sgd(
      f"resnet18 {filters}", model | COMMON, shape, seconds, repeats
    )
  share = flop / (1e-3 * row["sam_ms"]) / rate
  return {
    "precision": precision,
    **row,
    "flop": flop,
    "matmul_flop_per_second": rate,
    "share": share,
    "share_goal": MIN_SHARE,
  }


def torch_beside(
  row: dict[str, Any], filters: int, *flags: str, timeout: float
) -> dict[str, Any]:
  """Returns what PyTorch's step of SAM takes, next to ours; or its failure."""
  flags = (f"--precision={row['precision']}", *flags)
  try:
    found = step_time.torch_resnets([filters], *flags, timeout=timeout)
  except subprocess.SubprocessError as e:
    return {"torch_error": str(e)}
  if not found:
    return {}
  (milliseconds,) = found.values()
  return {
    "torch_ms": milliseconds,
    "torch_ratio": milliseconds / row["sam_ms"],
    "torch_goal": MIN_TORCH_RATIO,
  }


def argument_over_constant(
  name: str,
  fields: dict[str, Any],
  shape: tuple[int, ...],
  seconds: float,
  repeats: int,
) -> dict[str, Any]:
  """Times chunks for any number of steps, and for one number, in turn."""
  setup = chunks.create_setup(shape, **fields, **COMMON)
  sides = {
    "constant": chunks.Chunks(setup, ascend=True, static=True),
    "argument": chunks.Chunks(setup, ascend=True),
  }
  return chunks.last_over_first(name, sides, seconds, repeats)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--out", default="benchmarks/results/accelerator.json")
  parser.add_argument("--seconds", type=float, default=0.5, help="per timing")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--torch_timeout", type=float, default=100.0)
  args = parser.parse_args()

  jax_setup.set_up(float64=False)
  gpu = jax.default_backend() != "cpu"
  filters, matmul_size = (64, 8192) if gpu else (4, 1024)
  how = {"seconds": args.seconds, "repeats": args.repeats}
  torch_flags = [f"--{name}={value}" for name, value in how.items()]
  torch_flags += ["--compile"] if gpu else []  # On a CPU, minutes of C++.
  record: dict[str, Any] = {**how, "resnets": [], "loops": []}
  print(f"{outcome.device()}, jax {jax.__version__}, batch 128")

  print(f"resnet18 {filters}, 32x32; goals on a GPU: 2.0, 40 %, 1.0")
  print(
    f"{'':10} {'SGD ms':>9} {'SAM ms':>9} {'ratio':>6} {'TFLOP/s':>9}"
    f" {'of products':>11} {'PyTorch ms':>10} {'ratio':>6}"
  )
  for precision in PRECISIONS:
    row = in_precision(precision, filters, matmul_size=matmul_size, **how)
    row |= torch_beside(row, filters, *torch_flags, timeout=args.torch_timeout)
    record["resnets"].append(row)
    outcome.write(args.out, record)
    rate = 1e-9 * row["flop"] / row["sam_ms"]
    print(
      f"{precision:10} {row['sgd_ms']:9.3f} {row['sam_ms']:9.3f}"
      f" {row['ratio']:6.2f} {rate:9.3f} {row['share']:11.1%}"
      f" {row.get('torch_ms', float('nan')):10.3f}"
      f" {row.get('torch_ratio', float('nan')):6.2f}",
      flush=True,
    )

  mlp: dict[str, Any] = {"num_neurons": (300, 100)}
  models = [("mlp (300, 100)", mlp, step_time.MNIST_SHAPE)]
  if gpu:
    resnet = {"model": "resnet18", "num_filters": filters}
    models.append((f"resnet18 {filters}", resnet, step_time.CIFAR_SHAPE))
  print(f"{'steps in a call':16} {'constant ms':>11} {'argument ms':>11} ratio")
  for name, fields, shape in models:
    row = argument_over_constant(name, fields, shape, **how)
    record["loops"].append(row)
    outcome.write(args.out, record)
    print(
      f"{name:16} {row['constant_ms']:11.3f} {row['argument_ms']:11.3f}"
      f" {row['ratio']:5.2f}",
      flush=True,
    )
  print(f"written to {args.out}")
  failures = [r["torch_error"] for r in record["resnets"] if "torch_error" in r]
  if failures:
    raise SystemExit("\n".join(f"PyTorch failed: {e}" for e in failures))


if __name__ == "__main__":
  main()
