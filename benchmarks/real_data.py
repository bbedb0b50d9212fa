"""The way to the first step on the paper's data, and a whole run on MNIST.

  python -m benchmarks.real_data --data_dir=FOLDER [--out=FILE.json]

FOLDER has MNIST and CIFAR-10 as TFDS keeps them. First, the seconds from the
start of Python to the metrics of the first step: when the images are decoded,
and again, when they are kept. Then configs/mlp_mnist.py from its start to its
end (46,800 steps of SAM, 100 evaluations of 10,000 images), over as many steps
of its compiled chunk alone, on the same images; they are timed before and after
the run. The run should take at most 1.1 times as long.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import chunks
from benchmarks import outcome
from configs import mlp_mnist
import data
from data import kept
from program import jax_setup
from training import setup as setup_lib

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = "mlp_mnist", "resnet_cifar"
MAX_RATIO = 1.1
Command = list[str]


def first_lines(command: Command, cache: str) -> tuple[float, float]:
  """Runs main.py until the metrics of two steps lie on the disk.

  Returns:
    Seconds from the start of Python to the first line, and to the second.
  """
  found: list[float] = []
  with tempfile.TemporaryDirectory() as folder:
    metrics = pathlib.Path(folder) / "run" / "metrics.jsonl"
    start = time.perf_counter()
    process = subprocess.Popen(
      [sys.executable, "main.py", *command, f"--workdir={metrics.parent}"],
      cwd=ROOT,
      env=os.environ | {kept.ENVIRONMENT: cache},
      stdout=subprocess.DEVNULL,
    )
    while len(found) < 2:
      if process.poll() is not None:
        raise RuntimeError(f"{command}: exit code {process.returncode}")
      lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
      found += [time.perf_counter() - start] * (lines > len(found))
      time.sleep(0.005)
    process.kill()
    process.wait()
  return found[0], found[1]


def first_step(name: str, data_dir: str) -> dict[str, float | str]:
  """Times the way of a config to its first step, and a step."""
  command = [f"--config=configs/{name}.py", f"--data_dir={data_dir}"]
  command += ["--config.log_every_steps=1", "--config.steps_per_call=1"]
  with tempfile.TemporaryDirectory() as cache:
    times = [first_lines(command, cache) for _ in range(3)]
  return {
    "config": name,
    "decodes_s": times[0][0],
    "kept_s": min(first for first, _ in times[1:]),
    "step_s": min(second - first for first, second in times[1:]),
  }


def whole_run(data_dir: str, epochs: int) -> dict[str, float]:
  """Times a run of mlp_mnist and its steps alone."""
  config = mlp_mnist.get_config()
  config.num_epochs = epochs
  dataset = data.load(config, data_dir)
  setup = setup_lib.create(config, dataset)
  ready = chunks.Chunks(setup, ascend=True)
  num_calls = setup.num_steps // ready.steps // 4
  before = ready.seconds(num_calls)
  with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    subprocess.run(
      [
        *(sys.executable, "main.py", "--config=configs/mlp_mnist.py"),
        f"--config.num_epochs={epochs}",
        *(f"--data_dir={data_dir}", f"--workdir={folder}/run"),
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
    run = time.perf_counter() - start
  after = ready.seconds(num_calls)
  alone = (before + after) / (2 * num_calls * ready.steps) * setup.num_steps
  return {
    "steps": setup.num_steps,
    "run_s": run,
    "chunks_s": alone,
    "chunks_before_ms": 1e3 * before / (num_calls * ready.steps),
    "chunks_after_ms": 1e3 * after / (num_calls * ready.steps),
    "ratio": run / alone,
    "limit": MAX_RATIO,
  }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--data_dir", required=True, help="as TFDS keeps it")
  parser.add_argument("--epochs", type=int, default=100, help="of the run")
  parser.add_argument("--out", default="benchmarks/results/real_data.json")
  args = parser.parse_args()
  jax_setup.set_up(float64=False)
  jax_setup.fix_draws()
  print(f"{outcome.device()}, seconds to the metrics of the first step")
  print(f"{'':14} {'decodes':>8} {'kept':>8} {'a step':>8}", flush=True)
  firsts = []
  for name in CONFIGS:
    row = first_step(name, args.data_dir)
    firsts.append(row)
    numbers = (row[key] for key in ("decodes_s", "kept_s", "step_s"))
    print(f"{name:14}", *(f"{s:8.2f}" for s in numbers), flush=True)
  whole = whole_run(args.data_dir, args.epochs)
  print(
    f"mlp_mnist, {whole['steps']} steps: {whole['run_s']:.1f} s, its chunks"
    f" alone {whole['chunks_s']:.1f} s: {whole['ratio']:.3f}"
    f" (at most {MAX_RATIO})"
  )
  outcome.write(args.out, {"first_step": firsts, "whole_run": whole})
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
