"""A peer for benchmarks/sweep.py: the same SAM runs in a plain PyTorch loop.

  python -m benchmarks.torch_peer --seeds=5 --width=64

Written as one writes it: a module, `torch.optim.SGD`, a Python loop over runs
and steps, a shuffled index a step. Data, batch, epochs, schedule, momentum,
weight decay and evaluations are those of configs/mlp_digits.py with
`data_seed=-1`; weights and data order are drawn by PyTorch.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import json

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


def sam_step(model, loss_fn, optimizer, inputs, labels, rho: float) -> None:
  """Takes one step; rho = 0 is the base optimizer's."""
  params = list(model.parameters())
  optimizer.zero_grad()
  loss_fn(model(inputs), labels).backward()
  if rho:
    with torch.no_grad():
      norm = torch.sqrt(sum((p.grad**2).sum() for p in params))
      shifts = [rho * p.grad / (norm + 1e-12) for p in params]
      for p, shift in zip(params, shifts, strict=True):
        p.add_(shift)
    optimizer.zero_grad()
    loss_fn(model(inputs), labels).backward()
    with torch.no_grad():
      for p, shift in zip(params, shifts, strict=True):
        p.sub_(shift)
  optimizer.step()


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
      sam_step(model, loss_fn, optimizer, inputs[batch], labels[batch], rho)
      schedule.step()
    if (epoch + 1) % c.eval_every_epochs == 0:
      with torch.no_grad():
        for name in ("validation", "test"):
          x, y = splits[name]
          accuracy = float((model(x).argmax(1) == y).float().mean())
  return accuracy


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--width", type=int, required=True)
  parser.add_argument("--seeds", type=int, required=True)
  parser.add_argument("--rho", type=float, nargs="+", required=True)
  args = parser.parse_args()
  runs = [(rho, seed) for rho in args.rho for seed in range(args.seeds)]
  accuracies = [train(args.width, rho, seed) for rho, seed in runs]
  print(json.dumps({"torch": torch.__version__, "accuracies": accuracies}))


if __name__ == "__main__":
  main()
