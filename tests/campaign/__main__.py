"""What is done to the program on purpose: `python -m tests.campaign`.

Kills, damage, full disks, malformed folders and lost workers, each tried many
times. Prints every trial that the program did not survive, and a table: kinds
of trials, how many were tried and survived. Exit codes: 0 all survived, 1 not
all.
"""

import argparse
import importlib
import os
import pathlib
import random
import sys
import tempfile
import time

# A part that is not named here is not run.
PARTS = (
  "signals",
  "flags",
  "kills",
  "damage",
  "malformed",
  "disk_full",
  "workers",
  "hosts",
)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("parts", nargs="*", help=f"of {PARTS}; default: all")
  parser.add_argument("--seed", type=int, default=0, help="of what is chosen")
  parser.add_argument("--all", action="store_true", help="print every trial")
  args = parser.parse_args()
  wrong = set(args.parts) - set(PARTS)
  if wrong:
    parser.error(f"{wrong}: must be of {PARTS}")
  # Programs see none of what a shell has set for these.
  for name in list(os.environ):
    if name.startswith(("JAX_", "XLA_", "TF_", "TFDS_")):
      del os.environ[name]
  os.environ["JAX_PLATFORMS"] = "cpu"
  counts: dict[tuple[str, str], list[int]] = {}
  seconds: dict[str, float] = {}
  with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/compiled"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    for part in args.parts or PARTS:
      start = time.monotonic()
      module = importlib.import_module(f"tests.campaign.{part}")
      work = pathlib.Path(folder, part)
      work.mkdir()
      chance = random.Random(args.seed)
      for trial in module.trials(work, chance):
        count = counts.setdefault((part, trial.kind), [0, 0])
        count[0] += 1
        count[1] += not trial.fault
        if trial.fault or args.all:
          told = trial.fault or "survived"
          print(f"{part}: {trial.what}: {told}", flush=True)
      seconds[part] = time.monotonic() - start
      print(f"{part}: {seconds[part]:.0f} s", file=sys.stderr, flush=True)
  print_table(counts)
  return int(any(tried != survived for tried, survived in counts.values()))


def print_table(counts: dict[tuple[str, str], list[int]]) -> None:
  """Prints the rows of the table of docs/trust.md."""
  print("\n| part | what | tried | survived |\n|---|---|---|---|")
  for (part, kind), (tried, survived) in counts.items():
    print(f"| `{part}` | {kind} | {tried} | {survived} |")
  tried, survived = (sum(c[i] for c in counts.values()) for i in range(2))
  print(f"| | all | {tried} | {survived} |")


if __name__ == "__main__":
  sys.exit(main())
