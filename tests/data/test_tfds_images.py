"""Data sets read through TFDS, against small ones written to disk."""

import io
import itertools
import os
import pathlib
import subprocess
import sys
import tarfile
import time

import jax
import numpy as np
from PIL import Image
import pytest

from configs import base
from data import dataset
from data import imagenet
from data import pipeline
from data import tfds_files
from data import tfds_images
from tests import tfds_fixtures

RESIDENT = ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped")
NUM_TRAIN, NUM_TEST = 40, 20
# 26 examples make six batches of 4 and drop two examples an epoch.
NUM_STREAMED, NUM_STREAMED_TEST, BATCH, STEPS = 26, 10, 4, 6


def make_config(name, **overrides):
  config = base.get_config()
  config.dataset = name
  for field, value in overrides.items():
    config[field] = value
  return config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def written(data_dir):
  """What was written of each small data set."""
  return {
    name: tfds_fixtures.write(
      name, data_dir, num_train=NUM_TRAIN, num_test=NUM_TEST
    )
    for name in RESIDENT
  }


@pytest.fixture(scope="module")
def imagenet_dir(data_dir):
  tfds_fixtures.write_imagenet(
    data_dir,
    num_train=NUM_STREAMED,
    num_test=NUM_STREAMED_TEST,
    num_shards=3,
  )
  return data_dir


def rows(images, labels):
  """Returns the set of (image, label), to compare what has another order."""
  return {
    (image.tobytes(), int(label))
    for image, label in zip(images, labels, strict=True)
  }


@pytest.mark.parametrize("name", RESIDENT)
def test_images_and_labels_come_back_as_written(name, data_dir, written):
  loaded = tfds_images.load(make_config(name), data_dir)
  assert list(loaded.splits) == ["train", "test"]
  for split, (images, labels) in written[name].items():
    x = loaded.splits[split]
    assert x.inputs.dtype == np.uint8
    assert x.targets.dtype == np.int32
    assert x.inputs.shape == images.shape
    assert loaded.input_shape == images.shape[1:]
    assert rows(x.inputs, x.targets) == rows(images, labels)
  num_classes = 100 if name == "cifar100" else 10
  assert loaded.num_classes == loaded.num_outputs == num_classes
  assert loaded.augment is None


def test_validation_examples_are_held_out_from_training(data_dir, written):
  def load(**overrides):
    return tfds_images.load(make_config("cifar10", **overrides), data_dir)

  splits = load(validation_fraction=0.3).splits
  assert list(splits) == ["train", "validation", "test"]
  train = rows(splits["train"].inputs, splits["train"].targets)
  held_out = rows(splits["validation"].inputs, splits["validation"].targets)
  assert len(held_out) == 12
  assert not train & held_out
  assert train | held_out == rows(*written["cifar10"]["train"])
  again = load(validation_fraction=0.3, seed=7).splits["validation"]
  other = load(validation_fraction=0.3, seed=7, data_seed=-1)
  np.testing.assert_array_equal(splits["validation"].inputs, again.inputs)
  assert np.any(other.splits["validation"].inputs != again.inputs)


def test_normalization(data_dir, written):
  mnist = tfds_images.load(make_config("mnist"), data_dir)
  pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
  np.testing.assert_allclose(
    mnist.normalize(pixels).ravel(), [0, 0.2, 1], rtol=1e-6
  )
  cifar = tfds_images.load(make_config("cifar10"), data_dir)
  black, white = np.zeros((1, 1, 1, 3)), np.full((1, 1, 1, 3), 255)
  # (0 - mean) / std and (1 - mean) / std, worked out by hand.
  np.testing.assert_allclose(
    cifar.normalize(black).ravel(), [-2.429066, -2.418255, -2.221393], rtol=1e-5
  )
  np.testing.assert_allclose(
    cifar.normalize(white).ravel(), [2.514088, 2.596790, 2.753731], rtol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "padding", "flips"),
  [("cifar10", 4, True), ("svhn_cropped", 4, False), ("mnist", 2, False)],
)
def test_augmentation_is_a_crop_of_the_padded_image(
  name, padding, flips, data_dir, written
):
  loaded = tfds_images.load(make_config(name, augment=True), data_dir)
  images = loaded.splits["train"].inputs
  keys = jax.random.split(jax.random.key(0), len(images))
  size = images.shape[1]
  offsets = range(2 * padding + 1)
  flipped = []
  for image, got in zip(
    images, np.asarray(loaded.augment(keys, images)), strict=True
  ):
    padded = np.pad(image, [(padding, padding)] * 2 + [(0, 0)])
    crops = [
      padded[i : i + size, j : j + size]
      for i, j in itertools.product(offsets, offsets)
    ]
    plain = any(np.array_equal(got, crop) for crop in crops)
    mirrored = any(np.array_equal(got[:, ::-1], crop) for crop in crops)
    assert plain != mirrored
    flipped.append(mirrored)
  assert any(flipped) == flips
  assert not all(flipped)


# --- ImageNet -----------------------------------------------------------------


@pytest.fixture(scope="module")
def records(imagenet_dir):
  """The decoded images and labels of each split, in the order of the files."""
  import tensorflow as tf
  import tensorflow_datasets as tfds

  builder = tfds.builder("imagenet2012", data_dir=imagenet_dir)
  jpegs = builder.as_dataset(decoders={"image": tfds.decode.SkipDecoding()})
  return {
    ours: [
      (tf.io.decode_jpeg(x["image"]).numpy(), int(x["label"]))
      for x in jpegs[theirs]
    ]
    for ours, theirs in (("train", "train"), ("test", "validation"))
  }


@pytest.fixture(scope="module")
def streams(imagenet_dir):
  """ImageNet with augmentation."""
  return tfds_images.load(
    make_config("imagenet2012", augment=True), imagenet_dir
  )


def cubic_matrix(size_in, size_out):
  """Keys' cubic interpolation (a = -1/2) between pixel centres, [out, in]."""
  places = (np.arange(size_out) + 0.5) * size_in / size_out - 0.5
  # TensorFlow tabulates the kernel at 1/1024 of a pixel.
  fraction = np.round((places - np.floor(places)) * 1024) / 1024
  places = np.floor(places) + fraction
  d = np.abs(places[:, None] - np.arange(size_in))
  near = 1.5 * d**3 - 2.5 * d**2 + 1
  far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
  weights = np.where(d <= 1, near, np.where(d < 2, far, 0))
  # At the border the weights of the pixels that exist are scaled up.
  return weights / weights.sum(axis=1, keepdims=True)


def resize(image):
  rows_RxH = cubic_matrix(image.shape[0], 224)
  columns_CxW = cubic_matrix(image.shape[1], 224)
  return np.moveaxis(rows_RxH @ (columns_CxW @ image).swapaxes(0, 1), 0, 1)


def center_crop(image):
  height, width, _ = image.shape
  size = min(height, width) * 224 // 256
  top, left = (height - size + 1) // 2, (width - size + 1) // 2
  return image[top : top + size, left : left + size]


def test_imagenet_evaluation_sees_every_centre_crop_once(streams, records):
  split = streams.splits["test"]
  assert split.num_examples == NUM_STREAMED_TEST
  batches = list(split.eval_batches(BATCH))
  assert [len(b["targets"]) for b in batches] == [4, 4, 2]
  images = np.concatenate([b["inputs"] for b in batches])
  labels = np.concatenate([b["targets"] for b in batches])
  assert images.dtype == np.float32
  assert labels.dtype == np.int32
  assert labels.tolist() == [label for _, label in records["test"]]
  assert sorted(labels) == list(range(NUM_STREAMED_TEST))
  for image, (decoded, _) in zip(images, records["test"], strict=True):
    np.testing.assert_allclose(image, resize(center_crop(decoded)), atol=2e-4)


def test_imagenet_crop_of_the_final_size_is_not_resampled(tmp_path):
  tfds_fixtures.write_imagenet(
    tmp_path, num_train=1, num_test=2, heights=(256, 256), widths=(256, 256)
  )
  import tensorflow_datasets as tfds

  builder = tfds.builder("imagenet2012", data_dir=str(tmp_path))
  decoded = [x["image"].numpy() for x in builder.as_dataset(split="validation")]
  loaded = tfds_images.load(make_config("imagenet2012"), str(tmp_path))
  (batch,) = loaded.splits["test"].eval_batches(2)
  np.testing.assert_array_equal(
    batch["inputs"], [image[16:240, 16:240] for image in decoded]
  )
  mean, std = np.array(imagenet.MEAN), np.array(imagenet.STD)
  np.testing.assert_allclose(
    loaded.normalize(batch["inputs"]),
    (batch["inputs"] - 255 * mean) / (255 * std),
    atol=1e-5,
  )


def take(split, num_batches, *, seed=0, first_step=0, batch_size=BATCH):
  return list(
    itertools.islice(
      split.train_batches(seed, first_step, batch_size), num_batches
    )
  )


def labels_of(batches):
  return np.concatenate([b["targets"] for b in batches]).tolist()


@pytest.mark.parametrize("cache", [False, True])
def test_imagenet_training_starts_at_any_step(
  cache, imagenet_dir, streams, monkeypatch
):
  # Smaller than an epoch, as for the real data set.
  monkeypatch.setattr(imagenet, "SHUFFLE_BUFFER", 8)
  config = make_config("imagenet2012", augment=True, cache=cache)
  split = tfds_images.load(config, imagenet_dir).splits["train"]
  whole = take(streams.splits["train"], 2 * STEPS + 2)
  for first_step in (0, 4, STEPS, STEPS + 3):
    part = take(split, 2 * STEPS + 2 - first_step, first_step=first_step)
    for a, b in zip(whole[first_step:], part, strict=True):
      np.testing.assert_array_equal(a["inputs"], b["inputs"])
      np.testing.assert_array_equal(a["targets"], b["targets"])


@pytest.mark.parametrize(("count", "batch_size"), [(2, 4), (3, 6)])
def test_imagenet_parts_are_those_of_the_batches(
  count, batch_size, streams, monkeypatch
):
  monkeypatch.setattr(imagenet, "SHUFFLE_BUFFER", 8)
  splits = streams.splits
  parts = [
    {name: split.of_part((i, count)) for name, split in splits.items()}
    for i in range(count)
  ]
  # Over the end of an epoch, and from the middle of one.
  steps = 2 * (NUM_STREAMED // batch_size)
  for first_step in (0, 3):
    whole = take(
      splits["train"], steps, first_step=first_step, batch_size=batch_size
    )
    taken = [
      take(p["train"], steps, first_step=first_step, batch_size=batch_size)
      for p in parts
    ]
    for batch, *of_parts in zip(whole, *taken, strict=True):
      for name, values in batch.items():
        together = np.concatenate([part[name] for part in of_parts])
        np.testing.assert_array_equal(together, values)
  whole = np.concatenate(
    [b["inputs"] for b in splits["test"].eval_batches(batch_size)]
  )
  sizes = np.full((NUM_STREAMED_TEST, 0), 0)
  batches = [
    list(
      pipeline.eval_batches(
        splits["test"], batch_size, count, sizes, (i, count)
      )
    )
    for i in range(count)
  ]
  seen = []
  for of_parts in zip(*batches, strict=True):
    assert len({number for _, number, _ in of_parts}) == 1
    inputs, mask = (
      np.concatenate([batch[name] for batch, _, _ in of_parts])
      for name in ("inputs", "mask")
    )
    assert mask.sum() == of_parts[0][1]
    assert not inputs[~mask].any()
    seen.append(inputs[mask])
  np.testing.assert_array_equal(np.concatenate(seen), whole)


def test_imagenet_cache_reads_the_files_once(tmp_path, monkeypatch):
  monkeypatch.setattr(imagenet, "SHUFFLE_BUFFER", 8)
  tfds_fixtures.write_imagenet(tmp_path, num_train=NUM_STREAMED, num_test=5)
  config = make_config("imagenet2012", cache=True)
  splits = tfds_images.load(config, str(tmp_path)).splits

  def read():
    trained = take(splits["train"], STEPS + 1)
    return labels_of(trained), labels_of(splits["test"].eval_batches(BATCH))

  before = read()
  for file in tmp_path.glob("imagenet2012/*/*.tfrecord*"):
    file.unlink()
  assert read() == before


def test_imagenet_order_depends_on_seed_and_epoch(streams):
  split = streams.splits["train"]
  both = take(split, 2 * STEPS)
  first, second = labels_of(both[:STEPS]), labels_of(both[STEPS:])
  for epoch in (first, second):
    assert len(set(epoch)) == STEPS * BATCH
    assert set(epoch) <= set(range(NUM_STREAMED))
  other = labels_of(take(split, STEPS, seed=1))
  assert first != second
  assert first != other
  assert second != other
  whole = labels_of(take(split, 1, batch_size=NUM_STREAMED))
  assert sorted(whole) == list(range(NUM_STREAMED))


def test_imagenet_crops_depend_on_seed_epoch_and_example(streams):
  """The crop of an example does not depend on the batch it comes in."""
  split = streams.splits["train"]

  def crops(first_step, batch_size, seed=0):
    batches = take(
      split,
      NUM_STREAMED // batch_size,
      first_step=first_step,
      batch_size=batch_size,
      seed=seed,
    )
    return {
      int(label): image
      for b in batches
      for label, image in zip(b["targets"], b["inputs"], strict=True)
    }

  big, small = crops(0, 13), crops(0, 2)
  next_epoch, other_seed = crops(2, 13), crops(0, 13, seed=1)
  for label in range(NUM_STREAMED):
    np.testing.assert_array_equal(big[label], small[label])
    assert np.any(big[label] != next_epoch[label])
    assert np.any(big[label] != other_seed[label])


def test_imagenet_without_augmentation_trains_on_centre_crops(
  imagenet_dir, records
):
  split = tfds_images.load(make_config("imagenet2012"), imagenet_dir).splits[
    "train"
  ]
  decoded = {label: image for image, label in records["train"]}
  (batch,) = take(split, 1)
  for image, label in zip(batch["inputs"], batch["targets"], strict=True):
    np.testing.assert_allclose(
      image, resize(center_crop(decoded[int(label)])), atol=2e-4
    )


def test_imagenet_crops_have_the_stated_area_and_aspect_ratio(tmp_path):
  """Red is the column and green the row: a crop shows where it was taken."""
  height, width, num_images = 200, 250, 20

  def coordinates(label, shape, rng):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8)

  tfds_fixtures.write_imagenet(
    tmp_path,
    num_train=num_images,
    num_test=1,
    heights=(height, height),
    widths=(width, width),
    make_image=coordinates,
  )
  config = make_config("imagenet2012", augment=True)
  split = tfds_images.load(config, str(tmp_path)).splits["train"]
  images = np.concatenate([b["inputs"] for b in take(split, 10, batch_size=20)])
  # The slope times 224 is the size; the edges are left to the interpolation.
  columns, rows = images[:, 112, 20:-20, 0], images[:, 20:-20, 112, 1]
  slopes = (columns[:, -1] - columns[:, 0]) / (columns.shape[1] - 1)
  widths = np.abs(slopes) * 224
  heights = (rows[:, -1] - rows[:, 0]) / (rows.shape[1] - 1) * 224
  areas = heights * widths / (height * width)
  aspects = widths / heights
  # JPEG and whole pixels cost about 2 of the 55 to 250 pixels of a side.
  assert 0.095 < areas.min() < 0.15
  assert 0.8 < areas.max() < 1.01
  assert 0.71 < aspects.min() < 0.8
  assert 1.25 < aspects.max() < 1.4
  # The crops lie within the image, and go from edge to edge.
  lefts = columns.mean(axis=1) - widths / 2
  tops = rows.mean(axis=1) - heights / 2
  assert -3 < lefts.min() < 5
  assert width - 5 < (lefts + widths).max() < width + 3
  assert -3 < tops.min() < 5
  assert height - 5 < (tops + heights).max() < height + 3
  assert 0.4 < np.mean(slopes < 0) < 0.6


def test_imagenet_takes_the_centre_where_no_crop_is_allowed(tmp_path):
  # At most 20x26 pixels have an allowed aspect ratio: 6.7 % of the area.
  tfds_fixtures.write_imagenet(
    tmp_path, num_train=4, num_test=1, heights=(20, 20), widths=(400, 400)
  )

  def load(augment):
    config = make_config("imagenet2012", augment=augment)
    (batch,) = take(tfds_images.load(config, str(tmp_path)).splits["train"], 1)
    return batch["inputs"]

  for got, center in zip(load(augment=True), load(augment=False), strict=True):
    mirrored = np.array_equal(got, center[:, ::-1])
    assert mirrored or np.array_equal(got, center)


def test_imagenet_label_noise_follows_the_example(streams, records):
  def offsets_of(num_examples, num_classes):
    assert (num_examples, num_classes) == (NUM_STREAMED, 1000)
    return 990 + np.arange(num_examples)

  noisy = dataset.with_noisy_labels(streams, offsets_of, "noise").splits
  noisy_label = {
    label: (label + 990 + i) % 1000
    for i, (_, label) in enumerate(records["train"])
  }
  for seed, first_step in ((0, 0), (0, STEPS), (3, 2)):
    clean, wrong = (
      labels_of(take(split, STEPS, seed=seed, first_step=first_step))
      for split in (streams.splits["train"], noisy["train"])
    )
    assert wrong == [noisy_label[label] for label in clean]
  evaluated = labels_of(noisy["train"].eval_batches(BATCH))
  assert evaluated == [noisy_label[label] for _, label in records["train"]]
  assert noisy["test"] is streams.splits["test"]


# --- Missing and damaged data -------------------------------------------------


@pytest.mark.parametrize(
  ("name", "advice"),
  [
    ("mnist", "configs/mlp_digits.py"),
    ("svhn_cropped", "configs/resnet_digits.py"),
  ],
)
def test_missing_data_is_an_error_within_seconds(name, advice, tmp_path):
  """In a fresh program, behind a proxy where nothing listens.

  The seconds do not count imports, which take long beside other programs.
  """
  folder = tmp_path / "nowhere"
  program = f"""
import sys
import time
import data
from configs import base
import tensorflow_datasets
start = time.monotonic()
config = base.get_config()
config.dataset = {name!r}
try:
  data.load(config, {str(folder)!r})
except data.DataError as e:
  print(e)
print(time.monotonic() - start)
assert "tensorflow" not in sys.modules
"""
  proxies = {p: "http://127.0.0.1:9" for p in ("http_proxy", "https_proxy")}
  result = subprocess.run(
    [sys.executable, "-c", program],
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, **proxies, "no_proxy": ""},
    capture_output=True,
    text=True,
    check=True,
  )
  line, seconds = result.stdout.splitlines()
  assert float(seconds) < 10
  assert f"{name!r}: not found in {folder / name}" in line
  assert f"there is no folder {folder}" in line
  assert "cannot be reached" in line
  assert "download_and_prepare()" in line
  assert advice in line
  assert result.stderr == ""
  assert not folder.exists()


def test_silent_network_counts_as_none(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds_files, "PROBE_SECONDS", 0.1)
  monkeypatch.setattr(tfds_files, "_probe", lambda url: time.sleep(60))
  start = time.monotonic()
  with pytest.raises(dataset.DataError, match=r"cannot be reached \(no answer"):
    tfds_images.load(make_config("cifar10"), str(tmp_path))
  assert time.monotonic() - start < 10


def test_failed_download_is_a_data_error(tmp_path, monkeypatch):
  import tensorflow_datasets as tfds

  def fail(self):
    raise OSError("connection reset\nand more")

  monkeypatch.setattr(tfds_files, "_probe", lambda url: "")
  monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
  with pytest.raises(dataset.DataError, match=r"failed \(connection reset\)"):
    tfds_images.load(make_config("cifar10"), str(tmp_path))


def test_missing_imagenet_names_the_files_to_fetch(tmp_path):
  with pytest.raises(dataset.DataError) as error:
    tfds_images.load(make_config("imagenet2012"), str(tmp_path))
  line = str(error.value)
  assert f"not found in {tmp_path / 'imagenet2012'}" in line
  assert "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar" in line
  assert f"into {tmp_path / 'downloads' / 'manual'}" in line
  assert "configs/resnet_digits.py" in line


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
  info = tarfile.TarInfo(name)
  info.size = len(content)
  archive.addfile(info, io.BytesIO(content))


def test_imagenet_is_made_from_its_files(tmp_path, capfd):
  """And nothing but our line is printed, since this is no terminal."""
  manual = tmp_path / "downloads" / "manual"
  manual.mkdir(parents=True)
  train, validation = (manual / file for file in tfds_files.IMAGENET_FILES)
  image = io.BytesIO()
  Image.new("RGB", (40, 30)).save(image, "JPEG")
  of_class = io.BytesIO()
  with tarfile.open(fileobj=of_class, mode="w") as archive:
    for i in range(3):
      _add_file(archive, f"n01440764_{i}.JPEG", image.getvalue())
  with tarfile.open(train, "w") as archive:
    _add_file(archive, "n01440764.tar", of_class.getvalue())
  with tarfile.open(validation, "w") as archive:
    for i in range(1, 3):
      _add_file(archive, f"ILSVRC2012_val_{i:08}.JPEG", image.getvalue())
  capfd.readouterr()

  loaded = tfds_images.load(make_config("imagenet2012"), str(tmp_path))
  assert {s: x.num_examples for s, x in loaded.splits.items()} == {
    "train": 3,
    "test": 2,
  }
  out, err = capfd.readouterr()
  assert out == ""
  (line,) = err.splitlines()
  assert line.startswith(f"imagenet2012: making {tmp_path / 'imagenet2012'}")


def test_data_dir_must_be_a_folder(tmp_path):
  file = tmp_path / "file"
  file.touch()
  with pytest.raises(dataset.DataError, match=f"{file}.* is not a folder"):
    tfds_images.load(make_config("cifar10"), str(file))


def test_missing_split_is_named(data_dir, written):
  with pytest.raises(dataset.DataError, match="has no split 'extra'"):
    tfds_files.open_builder("cifar10", data_dir, ("train", "extra"))


def damage(folder):
  """Overwrites the middle of every file of records."""
  for file in folder.glob("*.tfrecord*"):
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"garbage!"
    file.write_bytes(content)


def test_damaged_files_are_a_data_error_that_names_the_folder(tmp_path):
  tfds_fixtures.write("mnist", tmp_path, num_train=9, num_test=9)
  (folder,) = (tmp_path / "mnist").iterdir()
  damage(folder)
  with pytest.raises(dataset.DataError, match=f"{folder}: cannot be read"):
    tfds_images.load(make_config("mnist"), str(tmp_path))
  (folder / "dataset_info.json").write_text("{")
  with pytest.raises(dataset.DataError, match=f"{folder.parent}.*cannot be"):
    tfds_images.load(make_config("mnist"), str(tmp_path))

  tfds_fixtures.write_imagenet(tmp_path, num_train=4, num_test=2)
  (folder,) = (tmp_path / "imagenet2012").iterdir()
  damage(folder)
  splits = tfds_images.load(make_config("imagenet2012"), str(tmp_path)).splits
  with pytest.raises(dataset.DataError, match=f"{folder}: cannot be read"):
    take(splits["train"], 1)
  with pytest.raises(dataset.DataError, match=f"{folder}: cannot be read"):
    list(splits["test"].eval_batches(BATCH))
