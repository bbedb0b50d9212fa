"""Texts read through TFDS, against small ones written to disk."""

import numpy as np
import pytest

from data import dataset
from data import tfds_text
from tests import helpers
from tests import tfds_fixtures

NUM_TRAIN, NUM_TEST = 30, 11


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tfds")
  sizes = {"num_train": NUM_TRAIN, "num_test": NUM_TEST}
  tfds_fixtures.write_grc_perseus(folder, **sizes)
  tfds_fixtures.write_sst2(folder, **sizes)
  return str(folder)


def _load(data_dir, name, model, **fields):
  c = helpers.config(dataset=name, model=model, **fields)
  return tfds_text.load(c, data_dir)


def _in_any_order(rows):
  """TFDS's files have the examples in another order."""
  return sorted(tuple(row) for row in rows)


@pytest.mark.parametrize(
  ("name", "model"), [("grc_perseus", "transformer"), ("sst2", "lstm")]
)
def test_sentences_come_back_as_written(name, model, data_dir):
  loaded = _load(data_dir, name, model)
  written = [
    tfds_fixtures.sentences(size, seed)
    for seed, size in enumerate((NUM_TRAIN, NUM_TEST))
  ]
  assert loaded.num_classes == (6 if name == "grc_perseus" else 2)
  for (split, x), sentences in zip(loaded.splits.items(), written, strict=True):
    lengths = (x.inputs > 0).sum(1)
    assert sorted(lengths) == sorted(map(len, sentences)), split
    # Words with one id are one word, and the labels are those of the words.
    numbers = {}
    for tokens, n in zip(x.inputs, lengths, strict=True):
      assert (tokens[:n] > 1).all()
      assert (tokens[n:] == 0).all()
      numbers |= dict.fromkeys(tokens[:n].tolist())
    assert len(numbers) == len({w for s in sentences for w in s})


def test_tags_are_those_of_the_words(data_dir):
  loaded = _load(data_dir, "grc_perseus", "transformer")
  for x in loaded.splits.values():
    np.testing.assert_array_equal(x.targets >= 0, x.inputs > 0)
    is_word = x.inputs > 0
    pairs = set(zip(x.inputs[is_word], x.targets[is_word], strict=True))
    assert len(pairs) == len(set(x.inputs[is_word]))
  lengths = (loaded.splits["train"].inputs > 0).sum(1)
  assert loaded.labels_per_example == pytest.approx(lengths.mean())


def test_rare_words_are_unknown(data_dir):
  loaded = _load(data_dir, "sst2", "lstm", vocabulary_min_count=6)
  train = loaded.splits["train"].inputs
  ids, counts = np.unique(train[train > 1], return_counts=True)
  assert counts.min() >= 6
  # The most frequent word comes first.
  assert (np.diff(counts) <= 0).all()
  assert ids.tolist() == list(range(2, loaded.vocabulary_size))
  assert (train == 1).any()


def test_validation_sentences_are_held_out(data_dir):
  whole = _load(data_dir, "sst2", "lstm").splits
  parts = _load(data_dir, "sst2", "lstm", validation_fraction=0.3).splits
  assert [len(s.targets) for s in parts.values()] == [21, 9, 11]
  together = np.concatenate([parts["train"].inputs, parts["validation"].inputs])
  assert _in_any_order(together) == _in_any_order(whole["train"].inputs)


def test_missing_text_says_what_to_do(tmp_path, monkeypatch):
  monkeypatch.setattr(
    tfds_text.tfds_files, "_unreachable", lambda url: "no network"
  )
  with pytest.raises(dataset.DataError) as e:
    _load(str(tmp_path), "sst2", "lstm")
  line = str(e.value)
  assert "config.dataset='sst2'" in line
  assert "tfds.builder('glue/sst2'" in line
  assert f"copy {tmp_path}/glue/sst2 to this machine" in line
  assert "configs/lstm_lexicon.py" in line
