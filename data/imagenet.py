"""ImageNet, streamed: JPEG files are decoded while the model trains.

Every batch is a function of (seed, step). Examples are read in the order of
TFDS's files and pass a large buffer that shuffles them by (seed, epoch); crop
and flip of an example depend on (seed, epoch, its place in the files) alone.
Starting in the middle of an epoch reads, but does not decode, what comes
before.

The stream yields resized images in float32, about 0 to 255 (bicubic
interpolation overshoots); they are normalized on the device.
"""

from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np

from data import dataset
from data import tfds_files

IMAGE_SIZE = 224
CROP_PADDING = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Records of about 110 kB, so 1.8 GB. TFDS has shuffled the files themselves.
SHUFFLE_BUFFER = 16_384


def load(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> dataset.Dataset:
  """Returns ImageNet; its labelled validation set is the split 'test'."""
  builder = tfds_files.open_builder(
    "imagenet2012", data_dir, ("train", "validation")
  )
  splits = {}
  for name, tfds_name in (("train", "train"), ("test", "validation")):
    stream = _Stream(
      builder, tfds_name, augment=config.augment, cache=config.cache
    )
    splits[name] = dataset.StreamSplit(
      stream.num_examples,
      stream.train_batches,
      stream.eval_batches,
      version=str(builder.info.version),
    )
  num_classes = builder.info.features["label"].num_classes
  return dataset.Dataset(
    name="imagenet2012",
    splits=splits,
    input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3),
    num_outputs=num_classes,
    num_classes=num_classes,
    normalize=dataset.image_normalizer(MEAN, STD),
  )


class _Stream:
  """Batches of one split, for training and for evaluation."""

  def __init__(self, builder: Any, split: str, *, augment: bool, cache: bool):
    import tensorflow_datasets as tfds

    self.num_examples = builder.info.splits[split].num_examples
    self._num_classes = builder.info.features["label"].num_classes
    self._folder = builder.data_dir
    self._augment = augment
    with tfds_files.readable(self._folder):
      records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
      )
    # All iterators over one cached dataset share its memory.
    self._records = (records.cache() if cache else records).enumerate()

  def train_batches(
    self,
    seed: int,
    first_step: int,
    batch_size: int,
    label_offsets: np.ndarray | None = None,
    part: dataset.Part = dataset.WHOLE,
  ) -> Iterator[dataset.Batch]:
    """Yields the batches from `first_step` on, without end."""
    import tensorflow as tf

    num_steps = self.num_examples // batch_size
    assert num_steps, f"{batch_size=} of {self.num_examples} examples"
    first_epoch, done = divmod(first_step, num_steps)

    def read_epoch(epoch):
      """Returns the shuffled records of the full batches of an epoch."""
      records = self._records.shuffle(
        SHUFFLE_BUFFER,
        seed=epoch + (seed << 32),
        reshuffle_each_iteration=False,
      ).take(num_steps * batch_size)
      is_first = tf.cast(epoch == first_epoch, tf.int64)
      records = records.skip(is_first * done * batch_size)
      records = _of_part(records, batch_size, part)
      return records.map(lambda index, record: (epoch, index, record))

    def read_image(epoch, index, record):
      if not self._augment:
        return _center_image(record["image"])
      key = tf.random.fold_in(tf.stack([tf.cast(seed, tf.int64), epoch]), index)
      return _random_image(record["image"], key)

    read_label = self._label_reader(label_offsets)
    batches = (
      tf.data.Dataset.range(first_epoch, 2**32)
      .flat_map(read_epoch)
      .map(
        lambda epoch, index, record: {
          "inputs": read_image(epoch, index, record),
          "targets": read_label(index, record),
        },
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      )
      .batch(batch_size // part[1], drop_remainder=True)
    )
    return self._iterate(batches)

  def eval_batches(
    self,
    batch_size: int,
    label_offsets: np.ndarray | None = None,
    part: dataset.Part = dataset.WHOLE,
  ) -> Iterator[dataset.Batch]:
    """Yields every example once, in the order of the files."""
    import tensorflow as tf

    read_label = self._label_reader(label_offsets)
    batches = (
      _of_part(self._records, batch_size, part)
      .map(
        lambda index, record: {
          "inputs": _center_image(record["image"]),
          "targets": read_label(index, record),
        },
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      )
      .batch(batch_size // part[1])
    )
    return self._iterate(batches)

  def _label_reader(self, label_offsets: np.ndarray | None) -> Any:
    import tensorflow as tf

    if label_offsets is None:
      return lambda index, record: tf.cast(record["label"], tf.int32)
    offsets = tf.constant(label_offsets, tf.int64)
    return lambda index, record: tf.cast(
      (record["label"] + offsets[index]) % self._num_classes, tf.int32
    )

  def _iterate(self, batches: Any) -> Iterator[dataset.Batch]:
    with tfds_files.readable(self._folder):
      yield from batches.prefetch(2).as_numpy_iterator()


def _of_part(records: Any, batch_size: int, part: dataset.Part) -> Any:
  """Returns the records of a part of each batch, before they are decoded."""
  if part == dataset.WHOLE:
    return records
  index, count = part
  size = batch_size // count
  return (
    records.enumerate()
    .filter(lambda place, _: place % batch_size // size == index)
    .map(lambda _, record: record)
  )


def _random_image(jpeg: Any, key: Any) -> Any:
  """Returns a random crop, resized and perhaps mirrored.

  The crop has 10 to 100 % of the area and an aspect ratio of 3/4 to 4/3. Where
  ten attempts find none, it is the central one.
  """
  import tensorflow as tf

  crop_key, flip_key = tf.unstack(tf.random.split(key, 2))
  shape = tf.io.extract_jpeg_shape(jpeg)
  begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
    shape,
    tf.zeros((1, 0, 4)),
    seed=crop_key,
    min_object_covered=0.1,  # As published: in effect, at least 10 %.
    aspect_ratio_range=(3 / 4, 4 / 3),
    area_range=(0.08, 1.0),
    max_attempts=10,
    use_image_if_no_bounding_boxes=True,
  )
  # The whole image stands for "none found".
  window = tf.where(
    tf.reduce_all(size[:2] == shape[:2]),
    _center_window(shape),
    tf.concat([begin[:2], size[:2]], axis=0),
  )
  return tf.image.stateless_random_flip_left_right(
    _crop_and_resize(jpeg, window), seed=flip_key
  )


def _center_image(jpeg: Any) -> Any:
  import tensorflow as tf

  return _crop_and_resize(jpeg, _center_window(tf.io.extract_jpeg_shape(jpeg)))


def _center_window(shape: Any) -> Any:
  """Returns (top, left, height, width) of the central square."""
  import tensorflow as tf

  shorter = tf.reduce_min(shape[:2])
  size = shorter * IMAGE_SIZE // (IMAGE_SIZE + CROP_PADDING)
  begin = (shape[:2] - size + 1) // 2
  return tf.concat([begin, tf.stack([size, size])], axis=0)


def _crop_and_resize(jpeg: Any, window: Any) -> Any:
  import tensorflow as tf

  image = tf.io.decode_and_crop_jpeg(jpeg, window, channels=3)
  image = tf.image.resize(image, (IMAGE_SIZE, IMAGE_SIZE), "bicubic")
  return tf.ensure_shape(image, (IMAGE_SIZE, IMAGE_SIZE, 3))
