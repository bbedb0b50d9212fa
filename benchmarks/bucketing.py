"""A step on padded batches over one on trimmed batches of like size.

  python -m benchmarks.bucketing [--out=FILE.json]

`configs/lstm_sst2.py` on random words in sentences about as long as those of
SST-2: geometric, 9 words on average, 52 at most. A step of SGD (SAM's has two
such passes) on padded batches should take at least 3 times as long as one on
batches of like size. Repeats alternate between the two, on the same steps;
medians are compared. The programs, one for each trimmed size, are compiled
before. Needs no TensorFlow.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import statistics
import time
from typing import Any

import jax
import numpy as np

from benchmarks import outcome
from configs import lstm_sst2
from data import dataset as dataset_lib
from data import text
from program import jax_setup
from training import setup as setup_lib
from training import state as state_lib
from training import trainer as trainer_lib

MIN_RATIO = 3.0
HIDDEN_SIZES = (64, 256)
MEAN_LENGTH, MAX_LENGTH = 9.4, 52
VOCABULARY = 10_000
WINDOW = lstm_sst2.get_config().bucket_batches
# bucket_batches -> steps in a timing: whole windows of batches of like size.
STEPS = {0: 5, WINDOW: WINDOW}


def random_sentences(config: Any) -> dataset_lib.Dataset:
  """Returns a window of batches of sentences, and one sentence to test on."""
  rng = np.random.default_rng(0)
  size = WINDOW * config.batch_size
  lengths = np.minimum(rng.geometric(1 / MEAN_LENGTH, size), MAX_LENGTH)
  lengths[0] = MAX_LENGTH
  sentences = [
    [f"w{i}" for i in rng.integers(0, VOCABULARY, length)] for length in lengths
  ]
  config.vocabulary_min_count = 1
  return text.classified(
    config,
    {"train": sentences, "test": sentences[:1]},
    {"train": rng.integers(0, 2, size), "test": [0]},
    num_words=VOCABULARY,
    num_classes=2,
  )


def step_ms(trainer: trainer_lib.Trainer, num_steps: int) -> float:
  """Returns how long a step takes, on average over the first ones."""
  trainer.step = 0
  start = time.perf_counter()
  while trainer.step < num_steps:
    trainer.call(num_steps - trainer.step)
  jax.block_until_ready(trainer.state(0).params)
  return 1e3 * (time.perf_counter() - start) / num_steps


def compare(hidden_size: int, repeats: int) -> dict[str, Any]:
  """Times steps of an LSTM on padded and on bucketed batches in turn."""
  trainers = {}
  words = {}
  for window, num_steps in STEPS.items():
    config = lstm_sst2.get_config()
    config.optimizer = "sgd"
    config.hidden_size = hidden_size
    config.bucket_batches = window
    setup = setup_lib.create(config, random_sentences(config))
    trainers[window] = trainer_lib.Trainer(setup, jax.devices()[:1])
    (feed,) = state_lib.create_feeds(setup, num_devices=1)
    lengths = feed.sizes(0, num_steps)
    words[window] = float(lengths.mean()) if lengths.size else MAX_LENGTH
    step_ms(trainers[window], num_steps)  # Compiles.
  times: dict[int, list[float]] = {window: [] for window in STEPS}
  for _ in range(repeats):
    for window, num_steps in STEPS.items():
      times[window].append(step_ms(trainers[window], num_steps))
  medians = {window: statistics.median(times[window]) for window in STEPS}
  return {
    "hidden_size": hidden_size,
    "padded_ms": medians[0],
    "bucketed_ms": medians[WINDOW],
    "ratio": medians[0] / medians[WINDOW],
    "limit": MIN_RATIO,
    "words_per_sentence": {str(w): words[w] for w in STEPS},
    "all_ms": {str(w): times[w] for w in STEPS},
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="benchmarks/results/bucketing.json")
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()

  jax_setup.fix_draws()
  print(f"{outcome.device()}, jax {jax.__version__}")
  print(
    f"{'SGD step':10} {'padded ms':>10} {'bucketed ms':>12}"
    f" {'ratio':>6}  (at least {MIN_RATIO})"
  )
  rows = []
  for hidden_size in HIDDEN_SIZES:
    row = compare(hidden_size, args.repeats)
    rows.append(row)
    print(
      f"LSTM {hidden_size:<5} {row['padded_ms']:10.1f}"
      f" {row['bucketed_ms']:12.1f}"
      f" {row['ratio']:6.2f}",
      flush=True,
    )
  record = {
    "repeats": args.repeats,
    "batch_size": lstm_sst2.get_config().batch_size,
    "padded_over_bucketed": rows,
  }
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
