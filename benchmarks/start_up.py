"""Whole processes, from the start of Python to its end: where a person waits.

  python -m benchmarks.start_up [--old=COMMIT] [--repeats=3] [--out=FILE.json]

A run of configs/mlp_digits.py (64, 64), 900 steps of SAM with all that a run
leaves; six of them in a shell loop; and a sweep of 35. Beside the run stand a
bare loop in JAX, and one in PyTorch (optional: `pip install torch==2.13.0`).
With --old, the same commands in another commit of this repository, in turn. The
compilation cache is warm, but for "cold". Medians; memory is the peak of the
process.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Callable, Sequence
import functools
import importlib.util
import io
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

from benchmarks import outcome

ROOT = pathlib.Path(__file__).parents[1]
RUN = (
  "main.py",
  "--config=configs/mlp_digits.py",
  "--config.num_neurons=(64,64)",
  "--config.rho=0.05",
)
SWEEP = (
  "--config.sweep.rho=(0.0,0.02,0.05,0.1,0.2,0.5,1.0)",
  "--config.sweep.seed=(0,1,2,3,4)",
)
NUM_LOOPED = 6
# What is timed, by name.
Sides = dict[str, Callable[[], tuple[float, float]]]


def python(
  arguments: Sequence[str], cwd: pathlib.Path, cache: str
) -> tuple[float, float]:
  """Runs Python; returns seconds and the peak of its memory in MB."""
  start = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, *arguments],
    cwd=cwd,
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
    stdout=subprocess.DEVNULL,
  )
  _, status, usage = os.wait4(process.pid, 0)
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise RuntimeError(f"{arguments}: exit code {process.returncode}")
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if sys.platform == "darwin" else 1024
  return time.perf_counter() - start, usage.ru_maxrss * unit / 1e6


def one_run(
  tree: pathlib.Path, folder: str, *flags: str, cold: bool = False
) -> tuple[float, float]:
  """Trains in a tree of the repository, in a folder of its own."""
  workdir = tempfile.mkdtemp(dir=folder)
  cache = f"{folder}/cache-{tree.name}"
  if cold:
    shutil.rmtree(cache, ignore_errors=True)
  return python([*RUN, f"--workdir={workdir}/run", *flags], tree, cache)


def looped(tree: pathlib.Path, folder: str) -> tuple[float, float]:
  """Trains some seeds one after the other, as a shell loop does."""
  found = [
    one_run(tree, folder, f"--config.seed={seed}") for seed in range(NUM_LOOPED)
  ]
  return sum(s for s, _ in found), max(m for _, m in found)


def measure(name: str, sides: Sides, repeats: int) -> list[dict[str, Any]]:
  """Returns medians of each side; ratios are to the first one's."""
  found: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
  for _ in range(repeats):
    for side, run in sides.items():
      found[side].append(run())
  rows: list[dict[str, Any]] = []
  for side, values in found.items():
    seconds, memory = (statistics.median(x) for x in zip(*values, strict=True))
    first = rows[0]["seconds"] if rows else seconds
    row = {"what": name, "side": side, "seconds": seconds, "MB": memory}
    rows.append(row | {"ratio": seconds / first})
    print(
      f"{name:18} {side:10} {seconds:8.1f} s {memory:7.0f} MB"
      f" {seconds / first:6.2f}",
      flush=True,
    )
  return rows


def compare(
  trees: dict[str, pathlib.Path], folder: str, repeats: int
) -> list[dict[str, Any]]:
  """Times what is compared, and prints it."""
  partial = functools.partial
  for tree in trees.values():
    one_run(tree, folder)  # Warms the cache.
  sides: Sides = {n: partial(one_run, t, folder) for n, t in trees.items()}
  peers: dict[str, tuple[str, ...]] = {
    "bare JAX": ("-m", "benchmarks.jax_peer", "--width=64")
  }
  if importlib.util.find_spec("torch"):
    peer = "-m", "benchmarks.torch_peer", "--width=64", "--seeds=1"
    peers["PyTorch"] = *peer, "--rho=0.05"
  for name, command in peers.items():
    sides[name] = partial(python, command, ROOT, f"{folder}/cache-peers")
  sides["bare JAX"]()  # Warms its cache.
  rows = measure("one run", sides, repeats)
  sides = {n: partial(looped, t, folder) for n, t in trees.items()}
  rows += measure(f"shell loop of {NUM_LOOPED}", sides, repeats)
  for cold in (True, False):
    sides = {
      n: partial(one_run, t, folder, *SWEEP, cold=cold)
      for n, t in trees.items()
    }
    rows += measure("sweep of 35" + ", cold" * cold, sides, repeats)
  return rows


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--old", help="a commit to compare with")
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--out", default="benchmarks/results/start_up.json")
  args = parser.parse_args()
  rows: list[dict[str, Any]] = []
  with tempfile.TemporaryDirectory() as folder:
    trees = {"now": ROOT}
    if args.old:
      # No worktree, which would stay registered after a signal.
      trees["old"] = pathlib.Path(folder, "old")
      archive = ["git", "-C", str(ROOT), "archive", args.old]
      done = subprocess.run(archive, check=True, stdout=subprocess.PIPE)
      with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        tar.extractall(trees["old"], filter="data")
    rows = compare(trees, folder, args.repeats)
  outcome.write(args.out, {"old": args.old, "rows": rows})
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
