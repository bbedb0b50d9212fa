"""Many runs at once: wall time against a shell loop and against PyTorch.

  python -m benchmarks.sweep [--out=FILE.json]

First, 35 runs of an MLP (7 rho x 5 seeds, configs/mlp_digits.py at width 64) as
one sweep, as a shell loop over main.py, and as a loop in PyTorch (optional:
`pip install torch==2.13.0`): wall time of the whole processes, from the start
of Python to its end. JAX starts each side with an empty compilation cache, and
the shell loop keeps it, as a user's does. Aim: 15 times as fast as the shell
loop, 5 times as PyTorch.

Then, what `sweep_mode=auto` rests on: the time of a step of a run, vmapped and
in a loop over runs, for two MLPs and a ResNet, which is larger on a GPU.
`--parts=modes` does this alone.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax

from benchmarks import chunks
from benchmarks import outcome
from configs import base
from program import jax_setup
from run_folder import files
from training import setup as setup_lib
from training import trainer as trainer_lib

ROOT = pathlib.Path(__file__).parents[1]
RHO = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
NUM_SEEDS = 5
AIMS = {"shell loop": 15.0, "PyTorch": 5.0}


def _python(arguments: list[str], cache: str) -> str:
  """Runs Python and returns what it printed."""
  done = subprocess.run(
    [sys.executable, *arguments],
    cwd=ROOT,
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  return done.stdout


def _train(workdir: str, width: int, cache: str, fields: list[str]) -> None:
  common = [f"num_neurons=({width},{width})", "data_seed=-1", *fields]
  flags = [f"--config.{field}" for field in common]
  config = "--config=configs/mlp_digits.py"
  _python(["main.py", config, f"--workdir={workdir}", *flags], cache)


def one_program(folder: str, width: int) -> dict[str, Any]:
  seeds = tuple(range(NUM_SEEDS))
  start = time.perf_counter()
  workdir = f"{folder}/sweep"
  fields = [f"sweep.rho={RHO}", f"sweep.seed={seeds}"]
  _train(workdir, width, f"{folder}/cache", fields)
  seconds = time.perf_counter() - start
  return _side(seconds, files.read_runs(workdir))


def shell_loop(folder: str, width: int) -> dict[str, Any]:
  start = time.perf_counter()
  runs = []
  for rho in RHO:
    for seed in range(NUM_SEEDS):
      workdir = f"{folder}/rho{rho}-seed{seed}"
      fields = [f"rho={rho}"] if rho else ["optimizer=sgd"]
      _train(workdir, width, f"{folder}/loop_cache", [*fields, f"seed={seed}"])
      runs += files.read_runs(workdir)
  return _side(time.perf_counter() - start, runs)


def torch_loop(folder: str, width: int) -> dict[str, Any]:
  flags = [f"--width={width}", f"--seeds={NUM_SEEDS}"]
  flags += ["--rho", *map(str, RHO)]
  start = time.perf_counter()
  out = _python(["-m", "benchmarks.torch_peer", *flags], f"{folder}/cache")
  seconds = time.perf_counter() - start
  return {"seconds": seconds, **json.loads(out.splitlines()[-1])}


def _side(seconds: float, runs: list[files.Record]) -> dict[str, Any]:
  accuracies = [run["final"]["test_accuracy"] for run in runs]
  return {"seconds": seconds, "accuracies": accuracies}


def compare(width: int) -> list[dict[str, Any]]:
  """Times the three sides, and prints them."""
  sides = {"one program": one_program, "shell loop": shell_loop}
  if importlib.util.find_spec("torch"):
    sides["PyTorch"] = torch_loop
  print(f"{'35 runs':12} {'s':>8} {'ratio':>7} {'aim':>5} {'accuracy %':>11}")
  rows: list[dict[str, Any]] = []
  with tempfile.TemporaryDirectory() as folder:
    for name, side in sides.items():
      row = {"side": name, **side(folder, width)}
      first = rows[0]["seconds"] if rows else row["seconds"]
      row["ratio"] = row["seconds"] / first
      row["aim"] = AIMS.get(name)
      rows.append(row)
      accuracy = 100 * statistics.mean(row["accuracies"])
      print(
        f"{name:12} {row['seconds']:8.1f} {row['ratio']:7.2f}"
        f" {row['aim'] or '':>5} {accuracy:11.2f}",
        flush=True,
      )
  return rows


DIGITS_SHAPE, CIFAR_SHAPE = (8, 8, 1), (32, 32, 3)
MODELS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
  ("mlp (64, 64)", {"num_neurons": (64, 64)}, DIGITS_SHAPE),
  ("mlp (1200, 400)", {"num_neurons": (1200, 400)}, DIGITS_SHAPE),
  ("resnet18 4", {"model": "resnet18", "num_filters": 4}, DIGITS_SHAPE),
]
RESNET_16: dict[str, Any] = {"model": "resnet18", "num_filters": 16}
GPU_MODELS = [*MODELS[:2], ("resnet18 16, 32x32", RESNET_16, CIFAR_SHAPE)]


def modes(num_runs: int) -> list[dict[str, Any]]:
  """Times a step of a run of a sweep in both modes, and prints them."""
  print(f"{'ms a run and step':18} {'vmap':>8} {'loop':>8} {'vmap/loop':>10}")
  rows = []
  models = MODELS if jax.default_backend() == "cpu" else GPU_MODELS
  for name, fields, shape in models:
    row: dict[str, Any] = {"model": name, "num_runs": num_runs}
    for mode in ("vmap", "loop"):
      row[mode] = _milliseconds(fields | {"sweep_mode": mode}, shape, num_runs)
    row["ratio"] = row["vmap"] / row["loop"]
    rows.append(row)
    print(
      f"{name:18} {row['vmap']:8.3f} {row['loop']:8.3f} {row['ratio']:10.2f}",
      flush=True,
    )
  return rows


def _milliseconds(
  fields: dict[str, Any], shape: tuple[int, ...], num_runs: int
) -> float:
  """Returns the time of a SAM step of a run, without compiling."""
  config = base.get_config()
  config.update(fields)
  config.sweep.seed = tuple(range(num_runs))
  base.check(config)
  images = chunks.random_images(shape, 1280)
  setup = setup_lib.create(config, (images,) * num_runs)
  trainer = trainer_lib.Trainer(setup, jax.devices())
  trainer.call(setup.num_steps)
  trainer.train_metrics()
  first, start = trainer.step, time.perf_counter()
  while time.perf_counter() - start < 3:
    trainer.call(setup.num_steps)
  trainer.train_metrics()  # Waits.
  steps = (trainer.step - first) * num_runs
  return 1e3 * (time.perf_counter() - start) / steps


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="benchmarks/results/sweep.json")
  parser.add_argument("--width", type=int, default=64)
  parser.add_argument("--num_runs", type=int, default=20, help="of both modes")
  names = ["compared", "modes"]
  parser.add_argument("--parts", nargs="+", choices=names, default=names)
  args = parser.parse_args()

  jax_setup.set_up(float64=False, spread_runs=True)  # Before devices are named.
  record: dict[str, Any] = {"width": args.width}
  parts = {
    "compared": lambda: compare(args.width),
    "modes": lambda: modes(args.num_runs),
  }
  for name in args.parts:
    record[name] = parts[name]()
    outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
