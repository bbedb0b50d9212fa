"""Sentences of a random hidden Markov model, tagged with its states.

Stands in for part-of-speech tagging where there is no network: words are
ambiguous, their neighbours help. The best tagger is known: it takes the most
likely state of each word given its whole sentence, by the forward-backward
algorithm. `data_seed` draws the model and the sentences.
"""

import ml_collections
import numpy as np

from data import dataset
from data import text

NUM_STATES = 8
NUM_WORDS = 60
NUM_TRAIN = 12_800
NUM_TEST = 1_000
# Every length in between is as frequent as any other.
LENGTHS = range(5, 25)
# Of the Dirichlet distributions of transitions and of the words of a state;
# the smaller, the fewer are likely.
TRANSITION_CONCENTRATION = 0.1
EMISSION_CONCENTRATION = 0.15


def posteriors(
  words_NxL: np.ndarray,
  lengths_N: np.ndarray,
  start_K: np.ndarray,
  transitions_KxK: np.ndarray,
  emissions_KxW: np.ndarray,
) -> np.ndarray:
  """Returns the probability of each state at each word, [N, L, K].

  Args:
    words_NxL: words of the sentences; those beyond a length are ignored.
    lengths_N: number of words of each sentence.
    start_K: distribution of the first state.
    transitions_KxK: that of the next state, a row for each state.
    emissions_KxW: that of the word, a row for each state.
  """
  likelihood = np.moveaxis(emissions_KxW[:, words_NxL], 0, -1)
  is_word = np.arange(words_NxL.shape[1])[None] < lengths_N[:, None]
  likelihood = np.where(is_word[..., None], likelihood, 1.0)
  forward = np.empty_like(likelihood)
  backward = np.ones_like(likelihood)
  last = words_NxL.shape[1] - 1
  for i in range(last + 1):
    before = forward[:, i - 1] @ transitions_KxK if i else start_K[None]
    forward[:, i] = before * likelihood[:, i]
    forward[:, i] /= forward[:, i].sum(-1, keepdims=True)
  for i in range(last - 1, -1, -1):
    after = likelihood[:, i + 1] * backward[:, i + 1]
    backward[:, i] = after @ transitions_KxK.T
    backward[:, i] /= backward[:, i].sum(-1, keepdims=True)
  joint = forward * backward
  return joint / joint.sum(-1, keepdims=True)


def _draw(probabilities_NxK: np.ndarray, rng: np.random.Generator):
  """Returns a draw from each row, [N]."""
  levels = np.cumsum(probabilities_NxK, -1)
  return (rng.random((len(levels), 1)) * levels[:, -1:] > levels).sum(-1)


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task; 'w7' is a word, 's3' a tag.

  Its `best_accuracy` is that of the best tagger on the test sentences.
  """
  rng = np.random.default_rng([dataset.data_seed(config), 0x4A3])
  start = rng.dirichlet(np.ones(NUM_STATES))
  transitions, emissions = (
    rng.dirichlet(np.full(size, concentration), NUM_STATES)
    for size, concentration in (
      (NUM_STATES, TRANSITION_CONCENTRATION),
      (NUM_WORDS, EMISSION_CONCENTRATION),
    )
  )
  size = NUM_TRAIN + NUM_TEST
  # As many words in every training set, whatever the seed.
  lengths = LENGTHS.start + np.arange(size) % len(LENGTHS)
  states = np.empty((size, LENGTHS.stop - 1), int)
  words = np.empty_like(states)
  for i in range(states.shape[1]):
    rows = transitions[states[:, i - 1]] if i else np.tile(start, (size, 1))
    states[:, i] = _draw(rows, rng)
    words[:, i] = _draw(emissions[states[:, i]], rng)

  test = slice(NUM_TRAIN, None)
  likely = posteriors(
    words[test], lengths[test], start, transitions, emissions
  ).argmax(-1)
  is_word = np.arange(states.shape[1])[None] < lengths[test, None]
  best_accuracy = float((likely == states[test])[is_word].mean())

  def sentences(prefix, ids):
    all_of = [
      [f"{prefix}{i}" for i in row[:n]]
      for row, n in zip(ids, lengths, strict=True)
    ]
    return {"train": all_of[:NUM_TRAIN], "test": all_of[NUM_TRAIN:]}

  return text.tagged(
    config,
    sentences("w", words),
    sentences("s", states),
    num_words=NUM_WORDS,
    num_tags=NUM_STATES,
    best_accuracy=best_accuracy,
  )
