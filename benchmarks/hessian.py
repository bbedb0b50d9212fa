"""Products with the Hessian of a full data set, over its gradient.

  python -m benchmarks.hessian [--out=FILE.json]

One Hessian-vector product (HVP) should take at most 3 times as long as one
gradient. Then the largest eigenvalue of the Hessian of LeNet-300-100 (266,610
weights) on 60,000 examples: its time, its products, and by how much it raises
the peak memory of the process. Data is noise, weights are as initialized.
Repeats alternate between gradient and products; medians are compared.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Callable
import functools
import resource
import statistics
import time
from typing import Any

from flax import linen as nn
import jax
import numpy as np
import optax

from benchmarks import outcome
from benchmarks import step_time
from models import mlp
from models import resnet
from program import jax_setup
from sharpness import lanczos
from sharpness import objective

MAX_HVP_RATIO = 3.0
NUM_CLASSES = 10


def noise_objective(
  model: nn.Module, shape: tuple[int, ...], num_examples: int, batch_size: int
) -> objective.Objective:
  """Returns the cross-entropy of a fresh model on noise."""
  rng = np.random.default_rng(0)
  batches = []
  for i in range(0, num_examples, batch_size):
    size = min(batch_size, num_examples - i)
    images = rng.random((size, *shape), np.float32)
    labels = rng.integers(0, NUM_CLASSES, size)
    batches.append(jax.device_put({"inputs": images, "targets": labels}))
  state = model.init(jax.random.key(0), batches[0]["inputs"], train=False)
  params = state.pop("params")

  def predict(params, model_state, batch):
    variables = {"params": params, **model_state}
    return model.apply(variables, batch["inputs"], train=False)

  def loss(outputs, batch):
    return optax.softmax_cross_entropy_with_integer_labels(
      outputs, batch["targets"]
    )

  return objective.Objective(predict, loss, params, batches, model_state=state)


def call_seconds(function: Callable[[], Any], num_calls: int = 1) -> float:
  """Returns how long one call takes, on average."""
  start = time.perf_counter()
  for _ in range(num_calls):
    jax.block_until_ready(function())
  return (time.perf_counter() - start) / num_calls


def over_gradient(
  name: str, target: objective.Objective, seconds: float, repeats: int
) -> dict[str, Any]:
  """Times gradients, HVPs and Gauss-Newton products in turn.

  Args:
    name: of the model.
    target: the loss.
    seconds: that each timing takes, about, and at least one call.
    repeats: timings of each.
  """
  w = target.weights
  v = jax.random.normal(jax.random.key(1), w.shape, w.dtype)
  sides: dict[str, Callable[[], Any]] = {
    "gradient": functools.partial(target.gradient, w),
    "hvp": functools.partial(target.hvp, w, v),
    "ggn": functools.partial(target.ggn_vp, w, v),
  }
  for function in sides.values():
    call_seconds(function)  # Compiles.
  num_calls = max(1, round(seconds / call_seconds(sides["hvp"])))
  times: dict[str, list[float]] = {side: [] for side in sides}
  for _ in range(repeats):
    for side, function in sides.items():
      times[side].append(call_seconds(function, num_calls))
  medians = {side: statistics.median(times[side]) for side in sides}
  return {
    "model": name,
    "weights": target.dim,
    "examples": target.num_examples,
    **{f"{side}_ms": 1e3 * medians[side] for side in sides},
    "hvp_ratio": medians["hvp"] / medians["gradient"],
    "ggn_ratio": medians["ggn"] / medians["gradient"],
    "limit": MAX_HVP_RATIO,
  }


def _peak_mib() -> float:
  """Returns the peak resident memory of the process (Linux: KiB units)."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def largest_eigenvalue(
  name: str, target: objective.Objective, k: int
) -> dict[str, Any]:
  """Finds the k largest eigenvalues, and what that takes."""
  before = _peak_mib()
  start = time.perf_counter()
  found = lanczos.top_eigenpairs(
    functools.partial(target.hvp, target.weights), target.dim, k
  )
  elapsed = time.perf_counter() - start
  return {
    "model": name,
    "k": k,
    "values": found.values.tolist(),
    "relative_residuals": (found.residuals / found.norm).tolist(),
    "converged": found.converged.tolist(),
    "matvecs": found.num_matvecs,
    "seconds": elapsed,
    "peak_mib_before": before,
    "peak_mib_after": _peak_mib(),
    "dense_hessian_gib": target.dim**2 * 4 / 2**30,
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="benchmarks/results/hessian.json")
  parser.add_argument("--seconds", type=float, default=2.0, help="per timing")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--examples", type=int, default=60_000, help="of the MLP")
  args = parser.parse_args()

  jax_setup.fix_draws()
  print(f"{outcome.device()}, jax {jax.__version__}")

  lenet = noise_objective(
    mlp.MLP(NUM_CLASSES, (300, 100)),
    step_time.MNIST_SHAPE,
    args.examples,
    batch_size=1000,
  )
  resnet18 = noise_objective(
    resnet.ResNet(NUM_CLASSES, num_filters=8),
    step_time.DIGITS_SHAPE,
    num_examples=1152,
    batch_size=128,
  )
  print(
    f"{'':20} {'gradient ms':>12} {'HVP ms':>9} {'ratio':>6}"
    f" {'GGN ms':>9} {'ratio':>6}  (HVP at most {MAX_HVP_RATIO})"
  )
  products = []
  for name, target in (("mlp (300, 100)", lenet), ("resnet18 8", resnet18)):
    row = over_gradient(name, target, args.seconds, args.repeats)
    products.append(row)
    print(
      f"{name:20} {row['gradient_ms']:12.1f}"
      f" {row['hvp_ms']:9.1f} {row['hvp_ratio']:6.2f}"
      f" {row['ggn_ms']:9.1f} {row['ggn_ratio']:6.2f}",
      flush=True,
    )

  print(f"{'':20} {'lambda_max':>12} {'s':>9} {'HVPs':>6} {'MiB more':>9}")
  row = largest_eigenvalue("mlp (300, 100)", lenet, 1)
  added = row["peak_mib_after"] - row["peak_mib_before"]
  print(
    f"{row['model']:20} {row['values'][0]:12.5f} {row['seconds']:9.1f}"
    f" {row['matvecs']:6} {added:9.1f}"
  )

  record = {
    "seconds": args.seconds,
    "repeats": args.repeats,
    "products_over_gradient": products,
    "largest_eigenvalue": row,
  }
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
