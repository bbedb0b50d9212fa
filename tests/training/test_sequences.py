"""Examples of several lengths, with a label or with one for each token."""

import functools
import types

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import dataset as dataset_lib
from data import text
import models
import sam
from sharpness import measures
from tests import helpers
from training import losses
from training import metrics
from training import objectives as objectives_lib
from training import setup as setup_lib
from training import state as state_lib

TRANSFORMER = {
  "dataset": "hidden_markov",
  "model": "transformer",
  "hidden_size": 8,
  "head_size": 4,
  "num_layers": 1,
}
LSTM = {"dataset": "lexicon", "model": "lstm", "hidden_size": 8}
BOTH = pytest.mark.parametrize(
  "fields", [TRANSFORMER, LSTM], ids=["transformer", "lstm"]
)


def _dataset(c, lengths=(1, 5, 2, 3), num_test=7):
  """Returns random sentences of these lengths, again and again."""
  rng = np.random.default_rng(0)

  def words(size):
    return [
      [str(w) for w in rng.integers(0, 6, lengths[i % len(lengths)])]
      for i in range(size)
    ]

  splits = {"train": words(16), "test": words(num_test)}
  if c.dataset == "lexicon":
    labels = {n: rng.integers(0, 2, len(s)) for n, s in splits.items()}
    return text.classified(c, splits, labels, num_classes=2, num_words=6)
  tags = {
    name: [[str(t) for t in rng.integers(0, 3, len(s))] for s in sentences]
    for name, sentences in splits.items()
  }
  return text.tagged(c, splits, tags, num_words=6, num_tags=3)


def _padded(split, length):
  """Returns the examples with more padding."""

  def pad(x, value):
    if x.ndim == 1:
      return x
    more = ((0, 0), (0, length - x.shape[1]))
    return np.pad(x, more, constant_values=value)

  return dataset_lib.ArraySplit(
    pad(split.inputs, text.PADDING), pad(split.targets, dataset_lib.NO_LABEL)
  )


def _batch(split):
  return {
    "inputs": jnp.asarray(split.inputs),
    "targets": jnp.asarray(split.targets),
  }


def _model(c, dataset):
  """Returns the loss of a model and its initial weights."""
  model = models.create(c, dataset)
  tokens = jnp.ones((1, 3), jnp.int32)
  init = jax.jit(lambda key: model.init(key, tokens, train=False))
  return losses.create(c, model, dataset), init(jax.random.key(1))["params"]


@BOTH
def test_padding_changes_neither_loss_nor_gradient(fields):
  with jax.enable_x64():
    c = helpers.config(**fields, dtype="float64", label_smoothing=0.1)
    dataset = _dataset(c)
    loss_fn, params = _model(c, dataset)

    @jax.jit
    def value_and_grad(params, batch):
      key = jax.random.key(0)
      return jax.value_and_grad(lambda p: loss_fn(p, {}, batch, key)[0])(params)

    split = dataset.splits["train"]
    got = value_and_grad(params, _batch(split))
    padded = _batch(_padded(split, 7))
    more = value_and_grad(params, padded)
    assert helpers.max_difference(got, more) < 1e-14
    trimmed = dataset.trim(padded, (split.inputs.shape[1],))
    helpers.assert_same_bits(value_and_grad(params, trimmed), got)


def test_values_of_several_labels_by_hand():
  """Two sentences of 1 and 3 tokens; a tag has 2 tokens on average."""

  class Task:
    num_classes = num_outputs = 2
    labels_per_example = 2.0

  values_of = losses.per_example(helpers.config(), Task(), train=True)
  half, fifth = [0.0, 0.0], [0.0, np.log(4.0)]  # P(0) is 1/2 and 1/5.
  outputs = jnp.array([[half, half, half], [half, fifth, fifth]])
  targets = jnp.array([[1, -1, -1], [0, 0, 1]])
  got = values_of(outputs, targets)
  np.testing.assert_allclose(
    got["loss"],
    np.array([np.log(2), np.log(2) + np.log(5) + np.log(5 / 4)]) / 2,
    rtol=1e-6,
  )
  np.testing.assert_allclose(got["accuracy"], [0, 2 / 2])
  np.testing.assert_allclose(got["weight"], [1 / 2, 3 / 2])

  collection = metrics.eval_collection(
    losses.metric_names(helpers.config(), Task())
  )
  logged = collection.single_from_model_output(
    mask=jnp.array([True, True]), **got
  )
  empty = metrics.empty(collection)
  # The second is only padding of a batch.
  first = collection.single_from_model_output(
    mask=jnp.array([True, False]), **got
  )
  total = metrics.merge(metrics.merge(empty, logged), first)
  computed = total.compute()
  assert float(computed["accuracy"]) == pytest.approx(2 / 5)
  want = np.log(2) * 3 + np.log(5) + np.log(5 / 4)
  assert float(computed["loss"]) == pytest.approx(want / 5, rel=1e-6)
  assert int(total.loss.count) == 3


def test_evaluation_averages_over_tokens():
  c = helpers.config(**TRANSFORMER, batch_size=4, eval_batch_size=4)
  dataset = _dataset(c)
  trainer = helpers.Trainer(c, dataset, num_devices=2)
  (got,) = trainer.evaluate()
  split = dataset.splits["test"]
  apply = jax.jit(functools.partial(trainer.setup.model.apply, train=False))
  params = jax.device_get(trainer.state.params)
  logits = apply({"params": params}, split.inputs)
  is_tag = split.targets >= 0
  logits, tags = np.asarray(logits)[is_tag], split.targets[is_tag]
  nats = jax.nn.logsumexp(logits, axis=-1) - logits[range(len(tags)), tags]
  hits = logits.argmax(-1) == tags
  assert got["test_accuracy"] == pytest.approx(hits.mean())
  assert got["test_loss"] == pytest.approx(float(nats.mean()), rel=1e-5)


class _Dropped(nn.Module):
  """A linear model whose inputs are dropped."""

  @nn.compact
  def __call__(self, x, train=True):
    return nn.Dense(2)(nn.Dropout(0.5, deterministic=not train)(x))


def test_dropout_is_that_of_the_key():
  """One key drops the same at any weights; each microbatch has its own."""
  model = _Dropped()
  task = types.SimpleNamespace(
    num_classes=2, num_outputs=2, labels_per_example=None
  )
  loss_fn = losses.create(helpers.config(), model, task)
  x = np.random.default_rng(0).normal(size=(1, 20))
  same = {
    "inputs": jnp.array(np.tile(x, (2, 1)), jnp.float32),
    "targets": jnp.zeros(2, int),
  }
  params = model.init(jax.random.key(0), same["inputs"], train=False)["params"]
  grad_fn = jax.jit(
    sam.value_and_grad(
      lambda params, batch: loss_fn(params, {}, batch, batch["rng"][0]),
      microbatch_size=1,
      merge_aux=losses.merge_microbatches,
    )
  )

  def values(*seeds):
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    # With rho = 0, the second pass is the first if it drops the same.
    (loss, aux), _ = grad_fn(params, same | {"rng": keys}, jnp.zeros(()))
    assert loss == aux["perturbed_loss"]
    return aux["per_example"]["loss"]

  first, second = values(0, 1)
  assert first != second
  np.testing.assert_array_equal(values(1, 1), [second, second])


@BOTH
def test_measures_are_of_the_mean_over_labels(fields):
  """Of the unpruned weights; nothing is dropped."""
  c = helpers.config(
    **fields, dropout=0.5, sparsity=0.5, pruner="random", batch_size=4
  )
  setup = setup_lib.create(c, _dataset(c))
  (state,) = state_lib.create_states(setup)
  objectives = objectives_lib.Objectives(setup)
  objective = objectives.create(0, state.weights, state.mask)
  (counts,) = state_lib.count_parameters(state)
  assert objective.dim == counts["num_unpruned_parameters"]
  assert objective.dim < 0.8 * counts["num_parameters"]

  (batch,) = objective.batches
  logits = np.asarray(objective.outputs(objective.weights))
  is_label = np.asarray(batch["targets"]) >= 0
  logits, labels = logits[is_label], np.asarray(batch["targets"])[is_label]
  nats = jax.nn.logsumexp(logits, axis=-1) - logits[range(len(labels)), labels]
  value = float(objective.value(objective.weights))
  assert value == pytest.approx(float(nats.mean()), rel=1e-5)
  if fields is LSTM:  # Whose second derivatives take long to compile.
    return
  found = measures.lambda_max(objectives_lib.point(c, objective))
  assert found["lambda_max_residual"] < 0.01 * found["lambda_max"]
