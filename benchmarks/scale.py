"""One run by one process and by two; a study in turn, and by two workers.

  python -m benchmarks.scale [--repeats=3] [--out=FILE.json]
  python -m benchmarks.scale --expect

The training loop on this machine's CPU, SAM with batches of 128, as one process
with one device, one with two devices, and two with one each, which `--hosts`
connects. Sides alternate; medians. Two processes on one machine have no more
cores than one: what is measured is what their connection costs. Then, the wall
time of the four cells of studies/depth.py in turn, and by two workers of Dask,
if it is installed; the compilation cache is warm. With --expect, nothing is
run: prints what published figures let expect of ResNet-50 on GPUs.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import importlib.util
import itertools
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import outcome

ROOT = pathlib.Path(__file__).parents[1]
# By name: fields of a config, and how many steps are timed.
SIZES: dict[str, tuple[dict[str, Any], int]] = {
  "mlp (64, 64)": ({"num_neurons": (64, 64)}, 512),
  "mlp (1024, 1024)": ({"num_neurons": (1024, 1024)}, 128),
  "resnet18 8": ({"model": "resnet18", "num_filters": 8}, 16),
}
# Steps that are not timed, since the first calls compile.
FIRST = 32
STUDY = "studies/depth.py"
# By name: processes, and devices of each.
SIDES = {"1 x 1": (1, 1), "1 x 2": (1, 2), "2 x 1": (2, 1)}

# Of ResNet-50 with 64 filters, in float32, as its gradient is.
NUM_PARAMETERS = 25_557_032
# NVIDIA's own training of ResNet-50 (DeepLearningExamples, PyTorch, mixed
# precision) on one A100 of 80 GB.
IMAGES_PER_SECOND = 2470
GPUS_OF_HOST = 8
# (GPUs, examples of each): the published batch of 512, or 64 for each GPU.
SHARES = ((8, 64), (64, 8), (64, 64))
# (name, GB/s each way, whether it is between hosts), nominal.
LINKS = (
  ("NVLink 3", 300.0, False),
  ("PCIe 4 x16", 32.0, False),
  ("InfiniBand HDR, one a GPU", 25.0, True),
  ("Ethernet 100 Gb/s a host", 12.5, True),
  ("Ethernet 10 Gb/s a host", 1.25, True),
)
# Those that each GPU has for itself are as fast as this.
PER_GPU = 25.0


def train_one(name: str, folder: str, place: str) -> None:
  """Trains by this process, perhaps with others; the first prints seconds."""
  from program import cli

  if not place:
    _train(name, folder, None)
    return
  from training import several

  with several.connected(cli.host(place)) as hosts:
    signals.own_stdout(is_shown=hosts.is_first)
    _train(name, folder, hosts)


def _train(name: str, folder: str, hosts: Any) -> None:
  from configs import mlp_digits
  from program import jax_setup
  import train
  from training import hosts as hosts_lib

  jax_setup.set_up(float64=False)
  hosts = hosts or hosts_lib.ALONE
  fields, num_steps = SIZES[name]
  config = mlp_digits.get_config()
  config.update(fields)
  config.log_every_steps = num_steps
  config.eval_every_epochs = 10**6
  config.num_train_steps = num_steps + FIRST
  times: dict[int, float] = {}

  def should_stop() -> bool:
    return bool(hosts.agree(0, 0)[0])

  train.train_and_evaluate(
    config,
    folder,
    make_hooks=lambda _: [lambda step: times.update({step: time.monotonic()})],
    should_stop=should_stop,
    hosts=hosts,
  )
  first = min(step for step in times if step >= FIRST)
  last = max(times)
  rate = (last - first) / (times[last] - times[first])
  print(f"RATE {json.dumps(rate)}")


def steps_per_second(name: str, side: str) -> float:
  """Starts the processes of a side, and returns how fast they train."""
  count, devices = SIDES[side]
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  flags = f"--xla_force_host_platform_device_count={devices}"
  with tempfile.TemporaryDirectory() as folder:
    processes = [
      subprocess.Popen(
        [
          *(sys.executable, "-m", "benchmarks.scale", f"--name={name}"),
          f"--folder={folder}/run",
          f"--hosts=127.0.0.1:{port},{count},{i}" if count > 1 else "--hosts=",
        ],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        text=True,
      )
      for i in range(count)
    ]
    printed = [process.communicate()[0] for process in processes]
    codes = [process.returncode for process in processes]
  if any(codes):
    raise RuntimeError(f"{name}, {side}: exit codes {codes}")
  (line,) = (x for x in printed[0].splitlines() if x.startswith("RATE "))
  return float(line.removeprefix("RATE "))


def compare(name: str, repeats: int) -> list[dict[str, Any]]:
  """Times the sides in turn, and prints a line of each."""
  found: dict[str, list[float]] = {side: [] for side in SIDES}
  for _ in range(repeats):
    for side, rates in found.items():
      rates.append(steps_per_second(name, side))
  rows: list[dict[str, Any]] = []
  for side, rates in found.items():
    rate = statistics.median(rates)
    first = rows[0]["steps_per_second"] if rows else rate
    ratio = rate / first
    rows.append(
      {"model": name, "processes x devices": side}
      | {"steps_per_second": rate, "ratio": ratio, "all": rates}
    )
    print(f"{name:18} {side:6} {rate:10.1f} steps/s {ratio:6.2f}", flush=True)
  return rows


def compare_study(repeats: int) -> list[dict[str, Any]]:
  """Times a study in turn and by two workers, and prints a line of each."""
  sides = {"in turn": "--workers=1", "two workers": "--workers=2"}
  _study_seconds(sides["in turn"])  # Warms the cache.
  found: dict[str, list[float]] = {side: [] for side in sides}
  for _ in range(repeats):
    for side, flag in sides.items():
      found[side].append(_study_seconds(flag))
  first = statistics.median(found["in turn"])
  rows = []
  for side, times in found.items():
    seconds = statistics.median(times)
    rows.append(
      {"side": side, "seconds": seconds, "ratio": seconds / first, "all": times}
    )
    print(f"{STUDY:25} {side:12} {seconds:6.1f} s {seconds / first:6.2f}")
  return rows


def _study_seconds(flag: str) -> float:
  with tempfile.TemporaryDirectory() as folder:
    command = sys.executable, "study.py", f"--study={STUDY}", flag
    start = time.perf_counter()
    subprocess.run(
      [*command, f"--workdir={folder}/study"],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      check=True,
    )
    return time.perf_counter() - start


def expect() -> None:
  """Prints what to expect of ResNet-50 on several GPUs.

  A step of SAM takes two gradients of its share of the batch, then averages one
  over the GPUs, or with `sync_perturbation` both. A ring of n sends and
  receives 2 (n - 1) / n times the gradient by each link. Nothing is taken to
  overlap.
  """
  print(
    "| GPUs | batch | link, GB/s each way | compute ms | MB moved | ms | of the"
    " time computes | ms, `sync_perturbation` | computes |\n"
    "|---|---|---|---|---|---|---|---|---|"
  )
  for (num_gpus, num_examples), link in itertools.product(SHARES, LINKS):
    name, speed, is_between_hosts = link
    if is_between_hosts != (num_gpus > GPUS_OF_HOST):
      continue
    compute = 1e3 * 2 * num_examples / IMAGES_PER_SECOND
    # A link that the GPUs of a host share carries a ring of hosts.
    ends = num_gpus if speed >= PER_GPU else num_gpus // GPUS_OF_HOST
    moved = 2 * (ends - 1) / ends * 4 * NUM_PARAMETERS / 1e6
    cells = [str(num_gpus), str(num_gpus * num_examples), f"{name}, {speed:g}"]
    cells += [f"{compute:.1f}", f"{moved:.0f}"]
    for times in (1, 2):
      ms = times * moved / speed  # MB by GB/s.
      cells += [f"{ms:.1f}", f"{compute / (compute + ms):.0%}"]
    print(f"| {' | '.join(cells)} |")


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--out", default="benchmarks/results/scale.json")
  # Of the processes that this one starts.
  for flag in ("name", "folder", "hosts"):
    parser.add_argument(f"--{flag}", help=argparse.SUPPRESS)
  parser.add_argument("--expect", action="store_true")
  args = parser.parse_args()
  if args.expect:
    expect()
    return
  if args.name:
    train_one(args.name, args.folder, args.hosts)
    return
  rows = [row for name in SIZES for row in compare(name, args.repeats)]
  record: dict[str, Any] = {"load": os.getloadavg()[0], "rows": rows}
  if importlib.util.find_spec("distributed"):
    record["study"] = compare_study(repeats=1)
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  signals.run(main)
