"""What the trainer knows of a data set."""

from collections.abc import Callable, Hashable, Iterator, Mapping
import dataclasses
import fractions
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import errors
from data import bucketing

# In the place of a label where an example has fewer of them than others.
NO_LABEL = -1

Batch = dict[str, np.ndarray]
# (index, number of parts): batches are cut into so many equal ones.
Part = tuple[int, int]
WHOLE: Part = (0, 1)
# (number of training labels, number of classes) -> offset of each label.
LabelOffsets = Callable[[int, int], np.ndarray]
# One PRNG key per example, raw inputs [B, ...] -> augmented raw inputs.
Augment = Callable[[jax.Array, jax.Array], jax.Array]
# Raw inputs [B, ...] -> what the model takes, arrays [B, ...].
Normalize = Callable[[jax.Array], Any]


class DataError(errors.UserError):
  """Data that is missing or unusable."""


@dataclasses.dataclass(frozen=True)
class ArraySplit:
  """Examples that fit into the memory of a device.

  Attributes:
    inputs: raw inputs [N, ...], for instance uint8 images.
    targets: integer labels [N] or [N, L], or real targets [N, outputs].
  """

  inputs: np.ndarray
  targets: np.ndarray

  @property
  def num_examples(self) -> int:
    return len(self.inputs)


@dataclasses.dataclass(frozen=True)
class StreamSplit:
  """Examples that are read while they are used.

  Attributes:
    num_examples: examples in the split.
    train_batches: (seed, first_step, batch_size) -> endless batches from that
      step on, a function of its arguments alone. Every epoch is shuffled and
      drops its last partial batch.
    eval_batches: batch_size -> every example once, in a fixed order; the last
      batch may be smaller.
    version: of the files that are read.

  Both also take `label_offsets`: what is added to the label of each example,
  in that fixed order, modulo the number of classes; and the `part` of each
  batch that is wanted, of the last one perhaps nothing, and not yielded then.
  """

  num_examples: int
  train_batches: Callable[..., Iterator[Batch]]
  eval_batches: Callable[..., Iterator[Batch]]
  version: str = ""

  def of_part(self, part: Part) -> "StreamSplit":
    """Returns the split of which the batches are parts of this one's."""
    if part == WHOLE:
      return self
    return dataclasses.replace(
      self,
      train_batches=functools.partial(self.train_batches, part=part),
      eval_batches=functools.partial(self.eval_batches, part=part),
    )


Split = ArraySplit | StreamSplit


def identity(inputs: jax.Array) -> jax.Array:
  """The `normalize` of inputs that need none."""
  return inputs.astype(jnp.result_type(float))


def token_ids(inputs: jax.Array) -> jax.Array:
  """The `normalize` of sequences, which stay integers."""
  return inputs.astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class Scaled:
  """The `normalize` that returns (inputs / scale - mean) / std.

  Attributes:
    scale: of all inputs.
    mean: per channel, which is the last axis; (): nothing is subtracted.
    std: per channel, if there is a mean.
  """

  scale: float
  mean: tuple[float, ...] = ()
  std: tuple[float, ...] = ()

  def __call__(self, inputs: jax.Array) -> jax.Array:
    x = inputs.astype(jnp.result_type(float)) / self.scale
    if not self.mean:
      return x
    shape = (1,) * (inputs.ndim - 1) + (-1,)
    return (x - np.reshape(self.mean, shape)) / np.reshape(self.std, shape)


def image_normalizer(
  mean: tuple[float, ...], std: tuple[float, ...]
) -> Normalize:
  """Returns (uint8 image / 255 - mean) / std, mean and std per channel."""
  return Scaled(255, mean, std)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set in splits, with what happens to its inputs on the device.

  Attributes:
    name: name in the config.
    splits: 'train', 'test' and, if part of the training set is held out,
      'validation'. Where a data set's labelled test set is called validation
      (ImageNet), it is 'test' here.
    input_shape: shape of one input.
    num_outputs: width of a model's output.
    num_classes: number of classes (of each task); None for regression.
    labels_per_example: number of labels of a training example, on average,
      where every example has several, [N, L]; None: one each.
    vocabulary_size: number of token ids of sequences.
    padding: the token id beyond the end of a sequence.
    best_accuracy: test accuracy of the best predictor, where it is known.
    augment: applied to raw training inputs; None: nothing, or done already
      while streaming.
    normalize: raw inputs -> inputs of the model: of the default float type,
      token ids, or graphs.
    trimming: how padding is cut off; None: all examples have one size.
    examples: data sets have the same examples, but for their training labels,
      if this is equal. Each that is made has its own.
    labels: they also have the same training labels if this is equal, too.
  """

  name: str
  splits: Mapping[str, Split]
  input_shape: tuple[int, ...]
  num_outputs: int
  num_classes: int | None
  labels_per_example: float | None = None
  vocabulary_size: int | None = None
  padding: int | None = None
  best_accuracy: float | None = None
  augment: Augment | None = None
  normalize: Normalize = identity
  trimming: bucketing.Trimming | None = None
  examples: Hashable = dataclasses.field(default_factory=object)
  labels: Hashable = None

  def key(self, split: str) -> Hashable:
    """Returns what is equal for equal splits, inputs and targets."""
    labels = self.labels if split == "train" else None
    return self.examples, labels, split

  def sizes(self, split: str) -> np.ndarray:
    """Returns the trimmed size of each example of a split of arrays, [N, K]."""
    assert self.trimming is not None, f"{self.name} is not trimmed"
    of_split = self.splits[split]
    assert isinstance(of_split, ArraySplit), "a stream is not trimmed"
    return self.trimming.sizes(of_split.inputs)

  def trim(self, batch: dict[str, Any], size: bucketing.Size) -> dict[str, Any]:
    """Returns a batch of normalized inputs less the room beyond a size."""
    if not size:
      return batch
    assert self.trimming is not None, "examples of one size are not trimmed"
    return self.trimming.trim(batch, size)


def with_noisy_labels(
  dataset: Dataset, offsets_of: LabelOffsets, labels: Hashable
) -> Dataset:
  """Returns the data set with wrong training labels; the rest stays clean.

  Args:
    dataset: with clean labels.
    offsets_of: what is added to them, modulo the number of classes.
    labels: what tells these labels from others; see `Dataset`.
  """
  train = dataset.splits["train"]
  classes = dataset.num_classes
  assert classes is not None, "label noise needs class labels"
  noisy: Split
  if isinstance(train, StreamSplit):
    offsets = offsets_of(train.num_examples, classes)
    noisy = dataclasses.replace(
      train,
      train_batches=functools.partial(
        train.train_batches, label_offsets=offsets
      ),
      eval_batches=functools.partial(train.eval_batches, label_offsets=offsets),
    )
  else:
    is_label = train.targets != NO_LABEL
    targets = train.targets.copy()
    offsets = offsets_of(int(is_label.sum()), classes)
    targets[is_label] = (targets[is_label] + offsets) % classes
    noisy = dataclasses.replace(train, targets=targets)
  return dataclasses.replace(
    dataset, splits={**dataset.splits, "train": noisy}, labels=labels
  )


def split_off(
  num_examples: int, num_held_out: int, key: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns sorted indices (kept, held out) of a random split."""
  order = np.random.default_rng(key).permutation(num_examples)
  return np.sort(order[num_held_out:]), np.sort(order[:num_held_out])


def hold_out(train: ArraySplit, config: Any) -> dict[str, ArraySplit]:
  """Returns 'train' and, unless `validation_fraction` is 0, 'validation'.

  They are parts of the `train_fraction` of the examples that is used.
  """
  seed = data_seed(config)
  num_used = _part(config.train_fraction, train.num_examples)
  num_unused = train.num_examples - num_used
  used, _ = split_off(train.num_examples, num_unused, (seed, 0x7F12))
  num_held_out = _part(config.validation_fraction, num_used)
  parts = split_off(num_used, num_held_out, (seed, 0x5917))
  names = ("train", "validation") if num_held_out else ("train",)
  return {
    name: ArraySplit(train.inputs[used[i]], train.targets[used[i]])
    for name, i in zip(names, parts, strict=False)
  }


def _part(fraction: float, number: int) -> int:
  """Returns the part of a number, exact for decimals: 0.29 of 100 is 29."""
  return int(fractions.Fraction(repr(float(fraction))) * number)


def data_seed(config: Any) -> int:
  """Returns the seed of the data set itself."""
  return config.seed if config.data_seed < 0 else config.data_seed
