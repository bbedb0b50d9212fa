"""Four ratios: a SAM step over an SGD step, ours over one with XLA's gradient
of convolutions, the loop over its chunks, and the loop over a plain scan.

  python -m benchmarks.step_time [--out=FILE.json]

A SAM step has two gradients, so the first ratio should be at most 2.0. The
training loop (data, metrics, logging, checkpoints) should take at most 1.05
times as long as the same compiled chunk on data that lies ready, and with batch
size 1, where a step takes microseconds, at most 2.0 times as long as a scan of
a dozen lines that logs nothing (one device, as the runs of a sweep). Repeats
alternate between the two sides; medians are compared. Needs no TensorFlow. On a
CPU, PyTorch's SAM step of the ResNets stands beside ours, if it is installed.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import contextlib
import importlib.util
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from benchmarks import chunks
from benchmarks import outcome
from configs import xor
import data
from data import dataset as dataset_lib
from models import convolution
from program import jax_setup
from run_folder import tensorboard
import sam
import train
from training import placement
from training import setup as setup_lib
from training import state as state_lib

MNIST_SHAPE, CIFAR_SHAPE, DIGITS_SHAPE = (28, 28, 1), (32, 32, 3), (8, 8, 1)
MAX_SAM_RATIO, MAX_LOOP_RATIO, MAX_SCAN_RATIO = 2.0, 1.05, 2.0


def sam_over_sgd(
  name: str,
  fields: dict[str, Any],
  shape: tuple[int, ...],
  seconds: float,
  repeats: int,
) -> dict[str, Any]:
  """Times SAM and SGD steps of a model in turn."""
  setup = chunks.create_setup(shape, **fields)
  sides = {
    "sgd": chunks.Chunks(setup, ascend=False),
    "sam": chunks.Chunks(setup, ascend=True),
  }
  row = chunks.last_over_first(name, sides, seconds, repeats)
  return {**row, "limit": MAX_SAM_RATIO}


def convolution_over_xla(
  name: str,
  fields: dict[str, Any],
  shape: tuple[int, ...],
  seconds: float,
  repeats: int,
) -> dict[str, Any]:
  """Times SAM steps with the gradient of models/convolution.py and XLA's."""
  setup = chunks.create_setup(shape, **fields)
  with mock.patch.object(convolution, "first_order", contextlib.nullcontext):
    plain = chunks.Chunks(setup, ascend=True)
  sides = {"xla": plain, "ours": chunks.Chunks(setup, ascend=True)}
  return chunks.last_over_first(name, sides, seconds, repeats)


def loop_over_chunks(
  name: str,
  fields: dict[str, Any],
  shape: tuple[int, ...],
  num_steps: int,
  repeats: int,
) -> dict[str, Any]:
  """Times the training loop, and its chunks alone, in turn.

  The loop logs about every 100 steps, to TensorBoard, too, and saves about
  every 469, which is an epoch of MNIST. A hook reads the clock after the first
  calls, which compile, and after the last; each time, all calls but the newest
  have ended. The last evaluation comes after that.
  """
  setup = chunks.create_setup(shape, **fields)
  per_call = placement.steps_per_call(
    setup.config, streamed=False, convolutional=setup.is_convolutional
  )
  num_calls = num_steps // per_call
  total = (num_calls + 2) * per_call
  setup = chunks.create_setup(
    shape,
    **fields,
    num_train_steps=total,
    steps_per_call=per_call,
    log_every_steps=max(100 // per_call, 1) * per_call,
    checkpoint_every_steps=max(469 // per_call, 1) * per_call,
    eval_every_epochs=10**6,
  )
  ready = chunks.Chunks(setup, ascend=True)
  _loop_seconds(setup, 2 * per_call, total)  # Imports what it needs.
  times: dict[str, list[float]] = {"chunks": [], "loop": []}
  for _ in range(repeats):
    times["chunks"].append(ready.seconds(num_calls))
    times["loop"].append(_loop_seconds(setup, 2 * per_call, total))
  alone, loop = (statistics.median(times[side]) for side in times)
  steps = num_calls * per_call
  return {
    "model": name,
    "steps": steps,
    "chunks_ms": 1e3 * alone / steps,
    "loop_ms": 1e3 * loop / steps,
    "ratio": loop / alone,
    "limit": MAX_LOOP_RATIO,
  }


def loop_over_scan(num_calls: int, repeats: int) -> dict[str, Any]:
  """Times 1-SAM on `xor` by the training loop, and by a plain scan, in turn."""
  config = xor.get_config()
  per_call = config.steps_per_call
  config.num_train_steps = (num_calls + 1) * per_call
  config.log_every_steps = per_call
  config.eval_every_epochs = 10**6
  dataset = data.load(config)
  setup = setup_lib.create(config, dataset)
  split = dataset.splits["train"]
  assert isinstance(split, dataset_lib.ArraySplit)
  inputs = jnp.asarray(split.inputs)
  targets = jnp.asarray(2 * split.targets - 1, inputs.dtype)
  rho, learning_rate = config.rho, config.learning_rate

  @jax.jit
  def scan(params, indices):
    def step(params, i):
      def loss(params):
        w1, w2 = params
        return (jax.nn.relu(inputs[i] @ w1) @ w2 - targets[i]) ** 2

      grads = jax.grad(loss)(params)
      scale = rho / (sam.global_norm(grads) + 1e-12)
      moved = jax.tree.map(lambda w, g: w + scale * g, params, grads)
      grads = jax.grad(loss)(moved)
      after = jax.tree.map(lambda w, g: w - learning_rate * g, params, grads)
      return after, None

    return jax.lax.scan(step, params, indices)[0]

  start = state_lib.create_states(setup)[0].params
  params = start["first"]["kernel"], start["second"]["kernel"][:, 0]
  (feed,) = state_lib.create_feeds(setup, num_devices=1)
  indices = feed.take(0, per_call, per_call)["indices"].ravel()
  jax.block_until_ready(scan(params, indices))
  times: dict[str, list[float]] = {"scan": [], "loop": []}
  for _ in range(repeats):
    began = time.perf_counter()
    for _ in range(num_calls):
      params = scan(params, indices)
    jax.block_until_ready(params)
    times["scan"].append(time.perf_counter() - began)
    times["loop"].append(_loop_seconds(setup, per_call, setup.num_steps))
  alone, loop = (statistics.median(times[side]) for side in times)
  steps = num_calls * per_call
  return {
    "model": f"two_layer {config.num_neurons[0]}, batch 1",
    "steps": steps,
    "scan_us": 1e6 * alone / steps,
    "loop_us": 1e6 * loop / steps,
    "ratio": loop / alone,
    "limit": MAX_SCAN_RATIO,
  }


def _loop_seconds(
  setup: setup_lib.Setup, first_step: int, last_step: int
) -> float:
  clock: dict[int, float] = {}

  def hook(step: int) -> None:
    clock[step] = time.perf_counter()

  folder = tempfile.mkdtemp()
  writer = tensorboard.EventsWriter(folder)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      train.train_and_evaluate(
        setup.config,
        folder,
        writer,
        datasets=setup.datasets,
        make_hooks=lambda _: [hook],
      )
  finally:
    writer.close()
    shutil.rmtree(folder)
  return clock[last_step] - clock[first_step]


def torch_resnets(
  filters: list[int], *flags: str, timeout: float | None = None
) -> dict[str, float]:
  """Returns the milliseconds of PyTorch's SAM steps, if it is installed.

  Args:
    filters: of the ResNets.
    flags: others of benchmarks/torch_peer.py.
    timeout: seconds after which it is given up.

  Raises:
    subprocess.SubprocessError: PyTorch's program failed, or was given up.
  """
  if not importlib.util.find_spec("torch"):
    return {}
  command = [sys.executable, "-m", "benchmarks.torch_peer", *flags]
  done = subprocess.run(
    [*command, "--filters", *map(str, filters)],
    check=True,
    stdout=subprocess.PIPE,
    timeout=timeout,
  )
  found = json.loads(done.stdout.splitlines()[-1])
  return {f"resnet18 {f}": found[str(f)] for f in filters}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="benchmarks/results/step_time.json")
  parser.add_argument("--seconds", type=float, default=2.0, help="per timing")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--steps", type=int, default=512, help="of the loop")
  parser.add_argument(
    "--scan_calls", type=int, default=20, help="of 10,000 steps with batch 1"
  )
  parser.add_argument(
    "--filters", type=int, nargs="*", help="of the ResNets; may be none"
  )
  args = parser.parse_args()

  jax_setup.fix_draws()
  gpu = jax.default_backend() != "cpu"
  mlp_widths = [(75, 25), (300, 100), (1200, 400), (3000, 1000)]
  filters = args.filters
  if filters is None:
    filters = [16, 64, 128] if gpu else [4, 8, 16]
  models: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    (f"mlp {w}", {"num_neurons": w}, MNIST_SHAPE) for w in mlp_widths
  ] + [
    (f"resnet18 {f}", {"model": "resnet18", "num_filters": f}, CIFAR_SHAPE)
    for f in filters
  ]
  common = {"weight_decay": 1e-4, "lr_scheduler": "constant"}
  print(f"{outcome.device()}, jax {jax.__version__}, batch 128")

  print(f"{'':20} {'SGD ms':>9} {'SAM ms':>9} {'ratio':>7}  (at most 2.0)")
  steps = []
  for name, fields, shape in models:
    row = sam_over_sgd(name, fields | common, shape, args.seconds, args.repeats)
    steps.append(row)
    numbers = f"{row['sgd_ms']:9.3f} {row['sam_ms']:9.3f} {row['ratio']:7.3f}"
    print(f"{name:20} {numbers}", flush=True)

  gradients = []
  resnets = [] if gpu else models[len(mlp_widths) :]
  if resnets:
    print(f"{'':20} {'ours ms':>9} {'XLA ms':>9} {'ratio':>7}")
  for name, fields, shape in resnets:
    row = convolution_over_xla(
      name, fields | common, shape, args.seconds, args.repeats
    )
    gradients.append(row)
    numbers = f"{row['ours_ms']:9.3f} {row['xla_ms']:9.3f} {row['ratio']:7.3f}"
    print(f"{name:20} {numbers}", flush=True)

  peers = {} if gpu or not filters else torch_resnets(filters)
  for row in steps:
    if row["model"] in peers:
      row["torch_ms"] = peers[row["model"]]
      ratio = row["sam_ms"] / row["torch_ms"]
      print(
        f"{row['model']:20} {ratio:.2f} times PyTorch's SAM step,"
        f" {row['torch_ms']:.0f} ms",
        flush=True,
      )

  print(f"{'':20} {'chunk ms':>9} {'loop ms':>9} {'ratio':>7}  (at most 1.05)")
  loops = []
  width, shape = (64, CIFAR_SHAPE) if gpu else (8, DIGITS_SHAPE)
  resnet = {"model": "resnet18", "num_filters": width}
  models = [
    ("mlp (300, 100)", {"num_neurons": (300, 100)}, MNIST_SHAPE),
    (f"resnet18 {width}, {shape[0]}x{shape[1]}", resnet, shape),
  ]
  if not filters:
    models.pop()
  for name, fields, shape in models:
    row = loop_over_chunks(
      name, fields | common, shape, args.steps, args.repeats
    )
    loops.append(row)
    numbers = f"{row['chunks_ms']:9.3f} {row['loop_ms']:9.3f}"
    print(f"{name:20} {numbers} {row['ratio']:7.3f}", flush=True)

  print(f"{'':20} {'scan us':>9} {'loop us':>9} {'ratio':>7}  (at most 2.0)")
  row = loop_over_scan(args.scan_calls, args.repeats)
  numbers = f"{row['scan_us']:9.3f} {row['loop_us']:9.3f}"
  print(f"{row['model']:20} {numbers} {row['ratio']:7.3f}", flush=True)

  record = {
    "seconds": args.seconds,
    "repeats": args.repeats,
    "sam_over_sgd": steps,
    "convolution_over_xla": gradients,
    "loop_over_chunks": loops,
    "loop_over_scan": row,
  }
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
