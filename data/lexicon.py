"""Reviews of random words whose sentiment a lexicon with negation decides.

Stands in for SST-2 where there is no network. A positive word counts 1, a
negative one -1, and the opposite right after a negator; the sign of the sum is
the class. Whoever knows the lexicon makes no error. `data_seed` draws the
sentences.
"""

import ml_collections
import numpy as np

from data import dataset
from data import text

NUM_TRAIN = 6_400
NUM_TEST = 1_000
# Every length in between is as frequent as any other.
LENGTHS = range(4, 17)
# Kind of word -> how many there are, and how frequent they are together.
KINDS = {
  "filler": (100, 0.45),
  "positive": (40, 0.2),
  "negative": (40, 0.2),
  "negator": (4, 0.15),
}
NUM_WORDS = sum(size for size, _ in KINDS.values())
_SENTIMENT = {"positive": 1, "negative": -1}


def score(words: list[str]) -> int:
  """Returns the sum of the sentiments of words such as 'negative7'."""
  kinds = [word.rstrip("0123456789") for word in words]
  return sum(
    _SENTIMENT.get(kind, 0) * (-1 if before == "negator" else 1)
    for before, kind in zip(["", *kinds], kinds, strict=False)
  )


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task; class 1 is positive, and no sentence is neutral."""
  rng = np.random.default_rng([dataset.data_seed(config), 0x1E71])
  kinds = list(KINDS)
  sizes, frequencies = zip(*KINDS.values(), strict=True)

  def draw(length: int) -> list[str]:
    while True:
      chosen = rng.choice(len(kinds), length, p=frequencies)
      numbers = rng.integers(0, np.array(sizes)[chosen])
      words = [f"{kinds[k]}{i}" for k, i in zip(chosen, numbers, strict=True)]
      if score(words):
        return words

  words = {
    name: [draw(LENGTHS[i % len(LENGTHS)]) for i in range(size)]
    for name, size in (("train", NUM_TRAIN), ("test", NUM_TEST))
  }
  labels = {
    n: [int(score(s) > 0) for s in all_of] for n, all_of in words.items()
  }
  return text.classified(
    config,
    words,
    labels,
    num_words=NUM_WORDS,
    num_classes=2,
    best_accuracy=1.0,
  )
