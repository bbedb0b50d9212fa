"""Sentences as arrays: vocabularies, padding, word dropout.

Token 0 is padding, 1 stands for all words that are not in the vocabulary. All
sentences of a data set are padded to its longest one, so that none is cut;
`bucketing` tells how batches do with less.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from data import bucketing
from data import dataset

Sentences = Sequence[Sequence[str]]
Vocabulary = Mapping[str, int]

# The token beyond the end of a sentence.
PADDING = 0
UNKNOWN = PADDING + 1
# The class of a tag that occurs in no training sentence; nothing predicts it.
UNKNOWN_TAG = 0


def build_vocabulary(
  sentences: Sentences, *, first_id: int, min_count: int = 1
) -> Vocabulary:
  """Returns the id of each word: the most frequent first, ties by alphabet.

  Args:
    sentences: of the training set.
    first_id: that of the most frequent word.
    min_count: how often a word must occur to have one.
  """
  counts = collections.Counter(itertools.chain.from_iterable(sentences))
  kept = [word for word in counts if counts[word] >= min_count]
  kept.sort(key=lambda word: (-counts[word], word))
  return {word: first_id + i for i, word in enumerate(kept)}


def encode(
  sentences: Sentences,
  vocabulary: Vocabulary,
  *,
  length: int,
  unknown: int,
  padding: int,
) -> np.ndarray:
  """Returns the ids of the words of each sentence, padded, int32 [N, L]."""
  ids = np.full((len(sentences), length), padding, np.int32)
  for row, sentence in zip(ids, sentences, strict=True):
    row[: len(sentence)] = [vocabulary.get(w, unknown) for w in sentence]
  return ids


def word_dropout(rate: float) -> dataset.Augment:
  """Returns what replaces each token, but padding, by UNKNOWN at this rate.

  Every sentence has a key of its own.
  """

  def one(key: jax.Array, tokens_L: jax.Array) -> jax.Array:
    dropped = jax.random.bernoulli(key, rate, tokens_L.shape)
    is_token = tokens_L != PADDING
    return jnp.where(dropped & is_token, UNKNOWN, tokens_L)

  return jax.vmap(one)


def count_words(tokens_NxL: np.ndarray) -> np.ndarray:
  """Returns the number of words of each sentence, [N, 1]."""
  return np.sum(tokens_NxL != PADDING, axis=1, keepdims=True)


def trim(batch: dict[str, Any], size: bucketing.Size) -> dict[str, Any]:
  """Returns sentences, and tags if every word has one, cut to a length."""
  (length,) = size
  targets = batch["targets"]
  if targets.ndim == 2:
    targets = targets[:, :length]
  return {**batch, "inputs": batch["inputs"][:, :length], "targets": targets}


def tagged(
  config: ml_collections.ConfigDict,
  words: Mapping[str, Sentences],
  tags: Mapping[str, Sentences],
  *,
  num_words: int = 0,
  num_tags: int = 0,
  best_accuracy: float | None = None,
) -> dataset.Dataset:
  """Returns sentences in which every word has a tag.

  Args:
    config: reads dataset, vocabulary_min_count, word_dropout,
      train_fraction, validation_fraction, data_seed and seed.
    words: 'train' and 'test' -> the words of the sentences. All of 'train',
      used or not, gives the vocabularies, and the mean length.
    tags: 'train' and 'test' -> their tags.
    num_words: at least so many words have an id: of generated sentences all
      there are, so that the model of every seed has the same size.
    num_tags: likewise.
    best_accuracy: see `Dataset`.
  """
  ids = build_vocabulary(tags["train"], first_id=UNKNOWN_TAG + 1)
  length = _longest(words)
  targets = {
    name: encode(
      sentences,
      ids,
      length=length,
      unknown=UNKNOWN_TAG,
      padding=dataset.NO_LABEL,
    )
    for name, sentences in tags.items()
  }
  return _create(
    config,
    words,
    targets,
    num_words=num_words,
    num_classes=UNKNOWN_TAG + 1 + max(len(ids), num_tags),
    labels_per_example=float(np.mean([len(s) for s in tags["train"]])),
    best_accuracy=best_accuracy,
  )


def classified(
  config: ml_collections.ConfigDict,
  words: Mapping[str, Sentences],
  labels: Mapping[str, Iterable[int]],
  *,
  num_words: int = 0,
  num_classes: int,
  best_accuracy: float | None = None,
) -> dataset.Dataset:
  """Returns sentences that have a class each; see `tagged`."""
  targets = {n: np.array(list(x), np.int32) for n, x in labels.items()}
  return _create(
    config,
    words,
    targets,
    num_words=num_words,
    num_classes=num_classes,
    labels_per_example=None,
    best_accuracy=best_accuracy,
  )


def _longest(words: Mapping[str, Sentences]) -> int:
  return max(len(s) for sentences in words.values() for s in sentences)


def _create(
  config: ml_collections.ConfigDict,
  words: Mapping[str, Sentences],
  targets: Mapping[str, np.ndarray],
  *,
  num_words: int,
  num_classes: int,
  labels_per_example: float | None,
  best_accuracy: float | None,
) -> dataset.Dataset:
  vocabulary = build_vocabulary(
    words["train"], first_id=UNKNOWN + 1, min_count=config.vocabulary_min_count
  )
  length = _longest(words)
  train, test = (
    dataset.ArraySplit(
      encode(
        words[name],
        vocabulary,
        length=length,
        unknown=UNKNOWN,
        padding=PADDING,
      ),
      targets[name],
    )
    for name in ("train", "test")
  )
  rate = config.word_dropout
  return dataset.Dataset(
    name=config.dataset,
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(length,),
    num_outputs=num_classes,
    num_classes=num_classes,
    labels_per_example=labels_per_example,
    vocabulary_size=UNKNOWN + 1 + max(len(vocabulary), num_words),
    padding=PADDING,
    best_accuracy=best_accuracy,
    augment=word_dropout(rate) if rate else None,
    normalize=dataset.token_ids,
    trimming=bucketing.Trimming((length,), count_words, trim),
  )
