"""Evaluation against a plain average over the examples."""

import jax
import numpy as np
import optax
import pytest

from tests import helpers

pytestmark = pytest.mark.usefixtures("short_resnets")

NUM_TEST = 37


@pytest.mark.parametrize(
  ("eval_batch_size", "num_devices"), [(5, 1), (16, 2), (1000, 2)]
)
def test_every_example_counts_once(eval_batch_size, num_devices):
  dataset = helpers.toy_dataset()
  c = helpers.config(
    model="resnet18",
    num_filters=2,
    batch_size=16,
    label_smoothing=0.5,
    eval_batch_size=eval_batch_size,
  )
  trainer = helpers.Trainer(c, dataset, num_devices)
  trainer.run(2)
  (got,) = trainer.evaluate()

  split = dataset.splits["test"]
  assert split.num_examples == NUM_TEST
  weights = jax.device_get(trainer.state.weights)
  logits = trainer.setup.model.apply(
    {"params": weights["params"], **weights["model_state"]},
    dataset.normalize(split.inputs),
    train=False,
  )
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, split.targets
  )
  hits = np.argmax(logits, -1) == split.targets
  assert set(got) == {"test_loss", "test_accuracy"}
  assert got["test_loss"] == pytest.approx(float(np.mean(losses)), rel=1e-5)
  assert got["test_accuracy"] == pytest.approx(float(np.mean(hits)))


def test_partial_evaluation_says_so():
  c = helpers.config(batch_size=16, eval_batch_size=8, steps_per_eval=2)
  trainer = helpers.Trainer(c, helpers.toy_dataset())
  (got,) = trainer.evaluate()
  assert got["test_num_examples"] == 16
