"""Three ratios: a SAM step over an SGD step, the loop over its chunks, and the
loop over a plain scan.

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

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import outcome
from configs import base
from configs import xor
import data
from data import dataset as dataset_lib
from program import jax_setup
from run_folder import tensorboard
import sam
import train
from training import metrics
from training import placement
from training import run_axis
from training import setup as setup_lib
from training import state as state_lib
from training import step

MNIST_SHAPE, CIFAR_SHAPE, DIGITS_SHAPE = (28, 28, 1), (32, 32, 3), (8, 8, 1)
MAX_SAM_RATIO, MAX_LOOP_RATIO, MAX_SCAN_RATIO = 2.0, 1.05, 2.0


def random_images(shape: tuple[int, ...], size: int) -> dataset_lib.Dataset:
  """Returns noise of the shape of a data set, with its normalization."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
  split = dataset_lib.ArraySplit(images, rng.integers(0, 10, size))
  return dataset_lib.Dataset(
    name="noise",
    splits={"train": split, "test": split},
    input_shape=shape,
    num_outputs=10,
    num_classes=10,
    normalize=dataset_lib.image_normalizer((0.5,), (0.25,)),
  )


class Chunks:
  """The compiled chunk on data that lies ready."""

  def __init__(self, setup: setup_lib.Setup, ascend: bool):
    place = placement.Placement((0,), tuple(jax.devices()))
    self.steps = placement.steps_per_call(
      setup.config, streamed=False, convolutional=setup.is_convolutional
    )
    self._state = run_axis.place(state_lib.create_states(setup), place)
    empty = metrics.empty(setup.train_metrics)
    self._metrics = run_axis.place([empty], place)
    self._resident = run_axis.Residents().place(setup.datasets, "train", place)
    (feed,) = state_lib.create_feeds(setup, place.num_devices)
    self._feed = feed.take(0, self.steps, self.steps)
    self._chunk = step.compile_chunk(setup, place, self.steps, ascend=ascend)
    self.seconds(1)  # Compiles.

  def seconds(self, num_calls: int) -> float:
    """Returns how long so many calls take."""
    count = np.int32(self.steps)
    start = time.perf_counter()
    for _ in range(num_calls):
      # The loop, too, has at most one call in flight beside the next.
      waiting = self._metrics
      self._state, self._metrics = self._chunk(
        self._state, self._metrics, count, self._feed, self._resident
      )
      jax.block_until_ready(waiting)
    jax.block_until_ready(self._metrics)
    return time.perf_counter() - start


def _config(**fields: Any):
  config = base.get_config()
  config.update(fields)
  base.check(config)
  return config


def sam_over_sgd(
  name: str,
  fields: dict[str, Any],
  shape: tuple[int, ...],
  seconds: float,
  repeats: int,
) -> dict[str, Any]:
  """Times SAM and SGD steps of a model in turn."""
  setup = setup_lib.create(_config(**fields), random_images(shape, 1280))
  sides = {
    "sgd": Chunks(setup, ascend=False),
    "sam": Chunks(setup, ascend=True),
  }
  one_call = sides["sam"].seconds(1)
  num_calls = max(2, round(seconds / one_call))
  times: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(repeats):
    for side, chunks in sides.items():
      steps = num_calls * chunks.steps
      times[side].append(1e3 * chunks.seconds(num_calls) / steps)
  sgd, sam = (statistics.median(times[side]) for side in ("sgd", "sam"))
  return {
    "model": name,
    "sgd_ms": sgd,
    "sam_ms": sam,
    "ratio": sam / sgd,
    "limit": MAX_SAM_RATIO,
  }


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
  dataset = random_images(shape, 1280)
  setup = setup_lib.create(_config(**fields), dataset)
  per_call = placement.steps_per_call(
    setup.config, streamed=False, convolutional=setup.is_convolutional
  )
  num_calls = num_steps // per_call
  total = (num_calls + 2) * per_call
  config = _config(
    **fields,
    num_train_steps=total,
    steps_per_call=per_call,
    log_every_steps=max(100 // per_call, 1) * per_call,
    checkpoint_every_steps=max(469 // per_call, 1) * per_call,
    eval_every_epochs=10**6,
  )
  setup = setup_lib.create(config, dataset)
  chunks = Chunks(setup, ascend=True)
  _loop_seconds(setup, 2 * per_call, total)  # Imports what it needs.
  times: dict[str, list[float]] = {"chunks": [], "loop": []}
  for _ in range(repeats):
    times["chunks"].append(chunks.seconds(num_calls))
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


def _torch_resnets(filters: list[int]) -> dict[str, float]:
  """Returns the milliseconds of PyTorch's SAM steps, if it is installed."""
  if not importlib.util.find_spec("torch"):
    return {}
  command = [sys.executable, "-m", "benchmarks.torch_peer", "--filters"]
  done = subprocess.run(
    [*command, *map(str, filters)], check=True, stdout=subprocess.PIPE
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
  args = parser.parse_args()

  jax_setup.fix_draws()
  gpu = jax.default_backend() != "cpu"
  mlp_widths = [(75, 25), (300, 100), (1200, 400), (3000, 1000)]
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

  peers = {} if gpu else _torch_resnets(filters)
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
    "loop_over_chunks": loops,
    "loop_over_scan": row,
  }
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
