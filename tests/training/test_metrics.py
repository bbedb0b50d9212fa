"""Mean average precision, by hand, and of a whole split with padded batches."""

import functools

import jax
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import data
from tests import helpers
from training import metrics
from training import setup as setup_lib
from training import trainer as trainer_lib


def test_mean_average_precision_by_hand():
  scores = np.array([[4.0, 1, 1, 9], [3, 2, 2, 8], [2, 3, 3, 7], [1, 4, 4, 6]])
  labels = np.array(
    [[1, 1, 1, 1], [0, 1, 0, -1], [1, 1, -1, -1], [0, 1, 0, -1]]
  )
  # Task 0: hits at ranks 1 and 3, (1 + 2/3) / 2. Task 1: one class. Task 2: the
  # hit is last of the three with a label, 1/3. Task 3: one class.
  want = ((1 + 2 / 3) / 2 + 1 / 3) / 2
  got = metrics.mean_average_precision(scores, labels)
  assert got == pytest.approx(want)


def test_without_a_task_or_with_nan_there_is_none():
  ones = np.ones((3, 2))
  assert np.isnan(metrics.mean_average_precision(ones, ones))
  labels = np.array([[0, 1], [1, 0], [1, 1]])
  assert np.isfinite(metrics.mean_average_precision(ones, labels))
  assert np.isnan(metrics.mean_average_precision(ones * np.nan, labels))


@pytest.fixture(scope="module")
def dataset():
  return data.load(_config())


def _config():
  return helpers.config(
    dataset="motifs",
    model="gcn",
    loss="binary_cross_entropy",
    hidden_size=8,
    message_passing_steps=1,
    eval_batch_size=300,
  )


@pytest.mark.parametrize("seeds", [(), (0, 1)])
def test_evaluation_equals_scikit_learn_on_the_whole_split(seeds, dataset):
  """Of a run on two devices, and of two runs in one program."""
  c = _config()
  c.sweep.seed = seeds
  num_runs = len(seeds) or 1
  devices = jax.devices()[: 1 if seeds else 2]
  setup = setup_lib.create(c, (dataset,) * num_runs)
  trainer = trainer_lib.Trainer(setup, devices)
  split = dataset.splits["test"]
  has_label = split.targets >= 0
  got = trainer.evaluate()
  assert len(got) == num_runs
  apply = jax.jit(functools.partial(setup.model.apply, train=False))
  inputs = dataset.normalize(split.inputs)
  wants = []
  for run, record in enumerate(got):
    logits = np.asarray(
      apply({"params": trainer.state(run).params}, inputs), float
    )
    tasks = zip(logits.T, split.targets.T, has_label.T, strict=True)
    want = np.mean(
      [
        sklearn_metrics.average_precision_score(labels[known], scores[known])
        for scores, labels, known in tasks
      ]
    )
    assert record["test_average_precision"] == pytest.approx(want, abs=1e-4)
    hits = ((logits > 0) == split.targets)[has_label]
    assert record["test_accuracy"] == pytest.approx(hits.mean(), abs=1e-3)
    wants.append(want)
  assert len(set(wants)) == num_runs
