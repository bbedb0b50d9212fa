"""Splits, order, label noise, augmentation and generated data."""

import jax
import numpy as np
import pytest

import data
from data import augment
from data import dataset as dataset_lib
from data import digits
from data import label_noise
from data import pipeline
from data import signal_noise
from data import trigonometric
from tests import helpers


def test_digits_splits():
  c = helpers.config(dataset="digits", validation_fraction=0.1985)
  splits = data.load(c).splits
  sizes = {name: s.num_examples for name, s in splits.items()}
  assert sizes == {"train": 1152, "validation": 285, "test": 360}
  images = np.concatenate([s.inputs.reshape(-1, 64) for s in splits.values()])
  from sklearn import datasets

  bunch = datasets.load_digits()
  for read, loaded in zip(
    digits.read(), (bunch.images, bunch.target), strict=True
  ):
    np.testing.assert_array_equal(read.squeeze(), loaded)
  want = bunch.data.astype(np.uint8)
  # The same 1,797 images, each once.
  np.testing.assert_array_equal(
    np.sort(images.view("S64").ravel()), np.sort(want.view("S64").ravel())
  )
  pixels = data.load(c).normalize(splits["test"].inputs)
  assert (pixels.min(), pixels.max()) == (0, 1)


def test_part_of_the_training_set():
  """It is a part of the whole one, and validation digits are part of it."""

  def load(**fields):
    splits = data.load(helpers.config(dataset="digits", **fields)).splits
    return {
      name: {image.tobytes() for image in s.inputs}
      for name, s in splits.items()
    }

  few = load(train_fraction=0.3, validation_fraction=0.25)
  # Of the 1,437 that are no test digits; no two of these look the same.
  sizes = {name: len(s) for name, s in few.items()}
  assert sizes == {"train": 324, "validation": 107, "test": 360}
  assert not few["train"] & few["validation"]
  whole = load()
  assert few["train"] | few["validation"] < whole["train"]
  assert few["test"] == whole["test"]
  assert few["train"] != load(train_fraction=0.3, data_seed=1)["train"]


def test_test_digits_depend_on_the_data_seed_alone():
  def test_images(**fields):
    return data.load(helpers.config(**fields)).splits["test"].inputs

  reference = test_images()
  np.testing.assert_array_equal(reference, test_images(seed=3))
  np.testing.assert_array_equal(reference, test_images(validation_fraction=0.3))
  assert (reference != test_images(data_seed=1)).any()
  np.testing.assert_array_equal(
    test_images(data_seed=3), test_images(data_seed=-1, seed=3)
  )


def test_epochs_are_permutations_keyed_by_seed_and_epoch():
  orders = {}
  for seed in (0, 1):
    order_of = pipeline.EpochOrders(seed, 100)
    for epoch in (0, 2, 1):
      orders[seed, epoch] = order = order_of(epoch)
      bits = np.random.Philox(key=seed, counter=[0, 0, 0, epoch])
      want = np.random.Generator(bits).permutation(100)
      np.testing.assert_array_equal(order, want)
      np.testing.assert_array_equal(np.sort(order), np.arange(100))
  distinct = {tuple(order) for order in orders.values()}
  assert len(distinct) == len(orders)


def test_feed_drops_the_last_partial_batch_and_rebuilds_any_step():
  split = dataset_lib.ArraySplit(np.zeros((10, 2)), np.zeros(10, np.int32))

  def feed():
    return pipeline.ResidentFeed(split, seed=5, batch_size=4, num_devices=2)

  steps = [feed().rest_of_epoch(step)[0] for step in range(6)]
  for epoch in range(3):
    order = pipeline.EpochOrders(5, 10)(epoch)
    np.testing.assert_array_equal(steps[2 * epoch], order[:4])
    np.testing.assert_array_equal(steps[2 * epoch + 1], order[4:8])
  taken = feed().take(1, 3, pad_to=5)["indices"]
  assert taken.shape == (2, 5, 2)  # Devices, steps, examples.
  np.testing.assert_array_equal(
    taken[:, :3].swapaxes(0, 1).reshape(3, 4), steps[1:4]
  )


@pytest.mark.parametrize("num_sizes", [0, 2])
@pytest.mark.parametrize("size", [4, 6, 16])
def test_eval_batches_cover_every_example_once(size, num_sizes):
  split = dataset_lib.ArraySplit(np.zeros((11, 2)), np.zeros(11, np.int32))
  sizes = np.random.default_rng(0).integers(1, 9, (11, num_sizes))
  seen, total, trimmed = [], 0, []
  for batch, count, room in pipeline.eval_batches(split, size, 2, sizes):
    assert batch["indices"].shape == (2, size // 2)
    assert room == tuple(sizes[batch["indices"]].max((0, 1)))
    trimmed.append(room)
    seen += list(batch["indices"][batch["mask"]])
    total += count
  assert sorted(seen) == list(range(11))
  assert total == 11
  assert trimmed == sorted(trimmed)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_symmetric_noise(rate):
  size, classes = 20_000, 5
  offsets = label_noise.offsets(size, classes, rate, "symmetric", seed=1)
  labels = np.arange(size) % classes
  noisy = (labels + offsets) % classes
  assert (noisy != labels).sum() == round(rate * size)
  if rate:
    # Uniform over the four other classes: 5 standard errors.
    counts = np.bincount(offsets, minlength=classes)[1:]
    want = rate * size / 4
    assert np.abs(counts - want).max() < 5 * np.sqrt(want)


def test_noise_is_nested_in_its_rate_and_keyed_by_the_seed():
  low = label_noise.offsets(1000, 10, 0.25, "symmetric", seed=1)
  high = label_noise.offsets(1000, 10, 0.5, "symmetric", seed=1)
  np.testing.assert_array_equal(high[low > 0], low[low > 0])
  other = label_noise.offsets(1000, 10, 0.25, "symmetric", seed=2)
  assert (low != other).any()


def test_noise_changes_training_labels_only():
  fields = {"dataset": "digits", "validation_fraction": 0.2}
  clean = data.load(helpers.config(**fields))
  noisy = data.load(
    helpers.config(**fields, label_noise=0.4, label_noise_type="pair")
  )
  a, b = clean.splits["train"].targets, noisy.splits["train"].targets
  changed = a != b
  assert changed.sum() == round(0.4 * len(a))
  np.testing.assert_array_equal(b[changed], (a[changed] + 1) % 10)
  for name in ("validation", "test"):
    np.testing.assert_array_equal(
      clean.splits[name].targets, noisy.splits[name].targets
    )


def test_crops_and_flips_are_those_of_the_padded_image():
  size, padding = 5, 2
  images = np.random.default_rng(0).integers(1, 256, (200, size, size, 1))
  images = images.astype(np.uint8)
  keys = jax.random.split(jax.random.key(0), len(images))
  got = np.asarray(augment.crop_and_flip(padding, flip=True)(keys, images))
  padded = np.pad(images, [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)])
  seen = set()
  for i, image in enumerate(got):
    for top in range(2 * padding + 1):
      for left in range(2 * padding + 1):
        crop = padded[i, top : top + size, left : left + size]
        for flip in (False, True):
          if (image == (crop[:, ::-1] if flip else crop)).all():
            seen.add((top, left, flip))
            break
  assert len(seen) > 45  # Of 50; 200 draws miss 0.9 of them on average.
  unflipped = augment.crop_and_flip(0, flip=False)(keys, images)
  np.testing.assert_array_equal(unflipped, images)


def test_teacher_student():
  fields = {"dataset": "teacher_student", "loss": "squared_error"}
  c = helpers.config(**fields, teacher_scale=2.0, target_noise=0.0)
  clean, noisy = data.load(c), data.load(helpers.config(**fields))
  train, test = clean.splits["train"], clean.splits["test"]
  assert (train.num_examples, test.num_examples) == (20_400, 5_100)
  assert train.inputs.shape == (20_400, 100)
  assert train.targets.std() == pytest.approx(2, rel=1e-5)
  np.testing.assert_array_equal(train.inputs, noisy.splits["train"].inputs)
  noise = noisy.splits["train"].targets - train.targets / 2
  assert noise.std() == pytest.approx(1, abs=0.02)
  assert abs(noise.mean()) < 0.03


def test_regression_1d():
  fields = {"dataset": "regression_1d", "loss": "squared_error"}
  splits = data.load(helpers.config(**fields)).splits
  points = [
    *((-1.305, -1.655), (-1.055, 1.845), (-0.805, 0.345), (-0.555, 0.345)),
    *((-0.305, 2.345), (-0.055, 1.345), (0.195, 0.345), (0.445, -0.655)),
    *((0.695, 0.345), (0.945, 1.345), (1.195, 2.345), (1.445, -0.655)),
  ]
  for name in ("train", "test"):
    got = np.hstack([splits[name].inputs, splits[name].targets])
    np.testing.assert_allclose(got, points, rtol=1e-6)
  split = data.load(helpers.config(**fields, validation_fraction=0.25)).splits
  assert split["train"].num_examples == 9
  assert split["validation"].num_examples == 3


def test_matrix_factorization():
  fields = {"dataset": "matrix_factorization", "loss": "squared_error"}
  splits = data.load(helpers.config(**fields, teacher_scale=2.0)).splits
  train, test = splits["train"], splits["test"]
  assert (train.inputs.shape, train.targets.shape) == ((1000, 6), (1000, 10))
  assert test.num_examples == 1000
  assert train.targets.std() == pytest.approx(2, rel=1e-5)
  assert train.inputs.std() == pytest.approx(1, abs=0.05)
  matrix, _, rank, _ = np.linalg.lstsq(train.inputs, train.targets)
  assert rank == 6
  np.testing.assert_allclose(test.inputs @ matrix, test.targets, atol=1e-4)
  other = data.load(helpers.config(**fields, data_seed=1)).splits["train"]
  assert (train.inputs != other.inputs).any()


def test_trigonometric():
  # (3 sin 1.5 - 2)^2 cos 3.5.
  half = trigonometric.function(np.full((1, 4), 0.5))
  np.testing.assert_allclose(half, [[-0.922434]], rtol=1e-5)
  np.testing.assert_allclose(trigonometric.function(np.zeros((1, 4))), [[4]])
  c = helpers.config(
    dataset="trigonometric", loss="squared_error", validation_fraction=0.1
  )
  splits = data.load(c).splits
  sizes = {name: s.num_examples for name, s in splits.items()}
  assert sizes == {"train": 900, "validation": 100, "test": 5000}
  for split in splits.values():
    norms = np.linalg.norm(split.inputs, axis=1)
    np.testing.assert_allclose(norms, np.ones(len(norms)), rtol=1e-6)
    np.testing.assert_allclose(
      split.targets, trigonometric.function(split.inputs), atol=1e-5
    )
  x = splits["test"].inputs
  np.testing.assert_allclose(x.T @ x / len(x), np.eye(4) / 4, atol=0.02)


def test_signal_noise():
  """One patch is the signal of the class, the others are one noise."""
  fields = {
    "dataset": "signal_noise",
    "loss": "logistic",
    "input_dim": 40,
    "num_train": 500,
    "num_patches": 3,
    "signal_norm": 4.0,
    "noise_scale": 2.0,
  }
  c = helpers.config(**fields)
  dataset = data.load(c)
  assert dataset.splits["test"].num_examples == signal_noise.NUM_TEST
  inputs, labels = (
    dataset.splits["train"].inputs,
    dataset.splits["train"].targets,
  )
  signal = np.zeros(40)
  places = []
  for x, label in zip(inputs, labels, strict=True):
    signal[0] = 4 * (2 * label - 1)
    (place,) = np.flatnonzero((x == signal).all(1))
    places.append(place)
    first, second = np.delete(x, place, axis=0)
    np.testing.assert_array_equal(first, second)
    assert abs(np.std(first) - 2) < 1.2
  # Of 500 draws, the standard error is .022 and .021.
  assert abs(np.mean(labels) - 1 / 2) < 0.1
  np.testing.assert_allclose(np.bincount(places) / 500, 1 / 3, atol=0.1)
  flipped = data.load(helpers.config(**fields, label_noise=0.1))
  wrong = flipped.splits["train"].targets != labels
  assert wrong.sum() == 50
  np.testing.assert_array_equal(flipped.splits["train"].inputs, inputs)
