"""A peer for other benchmarks: the same SAM runs in a plain PyTorch loop.

  python -m benchmarks.torch_peer --seeds=5 --width=64 --rho 0.0 0.05
  python -m benchmarks.torch_peer --filters 4 8 [--precision=tf32 --compile]

The first is written as one writes it: a module, `torch.optim.SGD`, a Python
loop over runs and steps, a shuffled index a step. Data, batch, epochs,
schedule, momentum, weight decay and evaluations are those of
configs/mlp_digits.py with `data_seed=-1`; weights and data order are drawn by
PyTorch. The second times steps of SAM of ResNet-18s on 32x32 images, batch 128,
on random ones that lie ready: eager or compiled, and channels last; on a GPU,
if there is one.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Callable
import json
import statistics
import time
from typing import Any

import torch
from torch import nn

from configs import mlp_digits
import data
from data import dataset as dataset_lib


def mlp(width: int) -> nn.Module:
  """Returns the MLP 64 - width - width - 10, with biases."""
  return nn.Sequential(
    nn.Linear(64, width),
    nn.ReLU(),
    nn.Linear(width, width),
    nn.ReLU(),
    nn.Linear(width, 10),
  )


def ascend(params, grads, rho: float) -> list[torch.Tensor]:
  """Moves the parameters to the perturbed ones, and returns by how much."""
  with torch.no_grad():
    norm = torch.sqrt(sum((g**2).sum() for g in grads))
    shifts = [rho * g / (norm + 1e-12) for g in grads]
    for p, shift in zip(params, shifts, strict=True):
      p.add_(shift)
  return shifts


def return_by(params, shifts) -> None:
  """Moves the parameters back."""
  with torch.no_grad():
    for p, shift in zip(params, shifts, strict=True):
      p.sub_(shift)


def create_step(
  loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
  optimizer: torch.optim.Optimizer,
  wrap: Callable[[Any], Any] = lambda function: function,
) -> Callable[[torch.Tensor, torch.Tensor, float], None]:
  """Returns (inputs, labels, rho) -> None; rho = 0 is the base optimizer's.

  Args:
    loss_fn: (inputs, labels) -> loss.
    optimizer: of the parameters.
    wrap: may compile what the step calls.
  """
  params = optimizer.param_groups[0]["params"]
  loss_fn, up, back = wrap(loss_fn), wrap(ascend), wrap(return_by)

  def step(inputs, labels, rho: float) -> None:
    optimizer.zero_grad()
    loss_fn(inputs, labels).backward()
    if rho:
      shifts = up(params, [p.grad for p in params], rho)
      optimizer.zero_grad()
      loss_fn(inputs, labels).backward()
      back(params, shifts)
    optimizer.step()

  return step


def train(width: int, rho: float, seed: int) -> float:
  """Trains one run and returns its final test accuracy."""
  c = mlp_digits.get_config()
  c.data_seed, c.seed = -1, seed
  dataset = data.load(c)
  splits = {
    name: (
      torch.tensor(split.inputs, dtype=torch.float32).reshape(-1, 64) / 16,
      torch.tensor(split.targets, dtype=torch.int64),
    )
    for name, split in dataset.splits.items()
    if isinstance(split, dataset_lib.ArraySplit)
  }
  torch.manual_seed(seed)
  model, loss_fn = mlp(width), nn.CrossEntropyLoss()
  optimizer = torch.optim.SGD(
    model.parameters(),
    lr=c.learning_rate,
    momentum=c.momentum,
    weight_decay=c.weight_decay,
  )
  step = create_step(lambda x, y: loss_fn(model(x), y), optimizer)
  steps_per_epoch = len(splits["train"][0]) // c.batch_size
  total = c.num_epochs * steps_per_epoch
  schedule = torch.optim.lr_scheduler.MultiStepLR(
    optimizer, [total // 2, 3 * total // 4], gamma=0.1
  )
  inputs, labels = splits["train"]
  accuracy = 0.0
  for epoch in range(c.num_epochs):
    order = torch.randperm(len(inputs))
    for i in range(steps_per_epoch):
      batch = order[i * c.batch_size : (i + 1) * c.batch_size]
      step(inputs[batch], labels[batch], rho)
      schedule.step()
    if (epoch + 1) % c.eval_every_epochs == 0:
      with torch.no_grad():
        for name in ("validation", "test"):
          x, y = splits[name]
          accuracy = float((model(x).argmax(1) == y).float().mean())
  return accuracy


class Block(nn.Module):
  """Two 3x3 convolutions and a shortcut."""

  def __init__(self, inputs: int, outputs: int, stride: int):
    super().__init__()
    self.body = nn.Sequential(
      nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
      nn.BatchNorm2d(outputs),
      nn.ReLU(),
      nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
      nn.BatchNorm2d(outputs),
    )
    self.shortcut = nn.Sequential()
    if stride > 1 or inputs != outputs:
      self.shortcut = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False),
        nn.BatchNorm2d(outputs),
      )

  def forward(self, x):
    return torch.relu(self.body(x) + self.shortcut(x))


def resnet18(filters: int) -> nn.Module:
  """Returns ResNet-18 for small images, as models/resnet.py has it."""
  layers: list[nn.Module] = [
    nn.Conv2d(3, filters, 3, 1, 1, bias=False),
    nn.BatchNorm2d(filters),
    nn.ReLU(),
  ]
  inputs = filters
  for stage in range(4):
    outputs = filters * 2**stage
    for i in range(2):
      stride = 2 if stage and not i else 1
      layers.append(Block(inputs, outputs, stride))
      inputs = outputs
  layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]
  return nn.Sequential(*layers)


def resnet_milliseconds(
  filters: int, repeats: int, seconds: float, precision: str, compiled: bool
) -> float:
  """Returns the median time of a step of SAM.

  Args:
    filters: of the first stage.
    repeats: timings.
    seconds: that each takes, about, and at least one step.
    precision: as in benchmarks/accelerator.py; parameters stay float32.
    compiled: whether by `torch.compile`.
  """
  device = "cuda" if torch.cuda.is_available() else "cpu"
  torch.backends.cudnn.benchmark = True
  torch.backends.cudnn.allow_tf32 = precision != "float32"
  torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
  last = torch.channels_last
  model = resnet18(filters).to(device, memory_format=last)
  inputs = torch.rand(128, 3, 32, 32).to(device, memory_format=last)
  labels = torch.randint(0, 10, (128,)).to(device)
  optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-4)
  half = precision == "bfloat16"

  def loss_fn(inputs, labels):
    with torch.autocast(device, torch.bfloat16, enabled=half):
      return nn.functional.cross_entropy(model(inputs), labels)

  wrap = torch.compile if compiled else lambda function: function
  step = create_step(loss_fn, optimizer, wrap)

  def milliseconds(num_steps: int) -> float:
    start = time.perf_counter()
    for _ in range(num_steps):
      step(inputs, labels, 0.05)
    if device == "cuda":
      torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / num_steps

  milliseconds(3)  # Compiles, and tries algorithms.
  num_steps = max(1, round(1e3 * seconds / milliseconds(1)))
  return statistics.median(milliseconds(num_steps) for _ in range(repeats))


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--seeds", type=int, default=1)
  parser.add_argument("--rho", type=float, nargs="+", default=[0.05])
  parser.add_argument("--filters", type=int, nargs="+", help="of ResNets")
  parser.add_argument("--repeats", type=int, default=20, help="of ResNets")
  parser.add_argument("--seconds", type=float, default=0.0, help="per timing")
  parser.add_argument("--precision", default="float32")
  parser.add_argument("--compile", action="store_true")
  args = parser.parse_args()
  if args.filters:
    how = args.repeats, args.seconds, args.precision, args.compile
    found = {f: resnet_milliseconds(f, *how) for f in args.filters}
    print(json.dumps(found))
    return
  runs = [(rho, seed) for rho in args.rho for seed in range(args.seeds)]
  accuracies = [train(args.width, rho, seed) for rho, seed in runs]
  print(json.dumps({"torch": torch.__version__, "accuracies": accuracies}))


if __name__ == "__main__":
  main()
