"""Vocabularies, padding, word dropout, and the generated sentences."""

import itertools

import jax
import numpy as np
import pytest

from configs import kinds
import data
from data import dataset as dataset_lib
from data import hidden_markov
from data import lexicon
from data import text
from tests import helpers

WORDS = {
  "train": [["b", "a"], ["b", "c", "a", "b"], ["d"]],
  "test": [["a", "e"]],
}
TAGS = {
  "train": [["X", "Y"], ["X", "X", "Y", "Y"], ["Z"]],
  "test": [["Y", "W"]],
}


def _config(dataset, **fields):
  model = "transformer" if dataset in kinds.TAGGED_DATASETS else "lstm"
  return helpers.config(dataset=dataset, model=model, **fields)


def test_tagged_sentences_by_hand():
  c = _config("hidden_markov", vocabulary_min_count=2)
  loaded = text.tagged(c, WORDS, TAGS)
  train, test = loaded.splits["train"], loaded.splits["test"]
  # 'b' occurs three times, 'a' twice; the others are unknown, 1.
  assert train.inputs.tolist() == [[2, 3, 0, 0], [2, 1, 3, 2], [1, 0, 0, 0]]
  assert test.inputs.tolist() == [[3, 1, 0, 0]]
  # X and Y three times each, in the order of the alphabet, then Z.
  assert train.targets.tolist() == [
    [1, 2, -1, -1],
    [1, 1, 2, 2],
    [3, -1, -1, -1],
  ]
  assert test.targets.tolist() == [[2, 0, -1, -1]]
  assert loaded.input_shape == (4,)
  assert loaded.vocabulary_size == loaded.num_classes == 4
  assert loaded.labels_per_example == pytest.approx(7 / 3)
  assert loaded.augment is None
  larger = text.tagged(c, WORDS, TAGS, num_words=9, num_tags=6)
  assert (larger.vocabulary_size, larger.num_outputs) == (11, 7)


def test_classified_sentences_by_hand():
  labels = {"train": [1, 0, 1], "test": [0]}
  loaded = text.classified(_config("lexicon"), WORDS, labels, num_classes=2)
  assert loaded.splits["train"].inputs[2].tolist() == [5, 0, 0, 0]
  assert loaded.splits["train"].targets.tolist() == [1, 0, 1]
  assert loaded.vocabulary_size == 6
  assert loaded.labels_per_example is None


def test_word_dropout_has_its_rate_and_keeps_padding():
  loaded = text.tagged(_config("hidden_markov", word_dropout=0.25), WORDS, TAGS)
  tokens = np.tile([7, 8, 9, 0], (4000, 1))
  keys = jax.random.split(jax.random.key(0), 4000)
  got = np.asarray(loaded.augment(keys, tokens))
  dropped = got == text.UNKNOWN
  np.testing.assert_array_equal(got[~dropped], tokens[~dropped])
  assert not dropped[:, 3].any()
  np.testing.assert_allclose(dropped[:, :3].mean(0), 0.25, atol=0.035)
  # Each word on its own.
  both = (dropped[:, 0] & dropped[:, 1]).mean()
  assert both == pytest.approx(0.0625, abs=0.02)


def test_noise_is_on_tags_and_not_on_padding():
  clean, noisy = (
    data.load(_config("hidden_markov", label_noise=rate)).splits
    for rate in (0.0, 0.25)
  )
  a, b = clean["train"].targets, noisy["train"].targets
  is_label = a != dataset_lib.NO_LABEL
  np.testing.assert_array_equal(is_label, b != dataset_lib.NO_LABEL)
  assert (a != b).sum() == round(0.25 * is_label.sum())
  np.testing.assert_array_equal(clean["test"].targets, noisy["test"].targets)


def test_posteriors_equal_sums_over_all_paths():
  rng = np.random.default_rng(0)
  num_states, num_words, lengths = 3, 4, np.array([4, 2, 1])
  start = rng.dirichlet(np.ones(num_states))
  transitions = rng.dirichlet(np.ones(num_states), num_states)
  emissions = rng.dirichlet(np.ones(num_words), num_states)
  words = rng.integers(0, num_words, (3, 4))
  got = hidden_markov.posteriors(words, lengths, start, transitions, emissions)
  for sentence, length, posterior in zip(words, lengths, got, strict=True):
    want = np.zeros((length, num_states))
    for path in itertools.product(range(num_states), repeat=int(length)):
      p = start[path[0]] * np.prod(
        [transitions[i, j] for i, j in itertools.pairwise(path)]
      )
      p *= np.prod(
        [emissions[s, w] for s, w in zip(path, sentence, strict=False)]
      )
      want[range(length), path] += p
    want /= want.sum(1, keepdims=True)
    np.testing.assert_allclose(posterior[:length], want, rtol=1e-10)


def test_hidden_markov_sentences_need_their_neighbours():
  """The best tagger errs half as often as the best that sees a word alone."""
  loaded = data.load(_config("hidden_markov"))
  train, test = loaded.splits["train"], loaded.splits["test"]
  counts = np.zeros((loaded.vocabulary_size, loaded.num_classes))
  is_word = train.targets >= 0
  np.add.at(counts, (train.inputs[is_word], train.targets[is_word]), 1)
  is_word = test.targets >= 0
  alone = counts.argmax(1)[test.inputs] == test.targets
  errors = 1 - alone[is_word].mean()
  assert 0.05 < 1 - loaded.best_accuracy < errors / 2
  lengths = (train.inputs != text.PADDING).sum(1)
  assert loaded.labels_per_example == pytest.approx(lengths.mean())


def test_generated_data_sets_of_all_seeds_have_one_shape():
  for name in ("hidden_markov", "lexicon"):
    some = [data.load(_config(name, data_seed=seed)) for seed in (0, 1)]
    assert (
      some[0].splits["test"].inputs != some[1].splits["test"].inputs
    ).any()
    for field in (
      "input_shape",
      "vocabulary_size",
      "num_classes",
      "labels_per_example",
    ):
      assert getattr(some[0], field) == getattr(some[1], field)


@pytest.mark.parametrize(
  ("words", "score"),
  [
    ("filler1 positive2", 1),
    ("negator0 positive2 positive1", 0),
    ("negator0 filler3 negative1", -1),
    ("negator3 negator1 negative1 positive0", 2),
    ("negative1 negator2", -1),
  ],
)
def test_lexicon_score_by_hand(words, score):
  assert lexicon.score(words.split()) == score


def test_lexicon_classes_are_balanced():
  splits = data.load(_config("lexicon")).splits
  for split in splits.values():
    assert abs(split.targets.mean() - 0.5) < 0.05
