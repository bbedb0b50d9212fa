"""Arrays of one's own, in a NumPy file (.npz): images or vectors.

Their names are those of Keras's files: x_train, y_train, x_test, y_test, and
x_val, y_val where there is a validation split. Nothing in it is unpickled.
"""

from collections.abc import Callable, Mapping
import zipfile
import zlib

import ml_collections
import numpy as np

from configs import check_arrays
from configs import errors
from data import augment
from data import dataset

# Their names in a file, and here.
SPLITS = {"train": "train", "val": "validation", "test": "test"}
Arrays = Mapping[str, np.ndarray]
# What the random crop may cut off of a side, and what fills it up: 4 pixels of
# 32, as is usual on CIFAR.
SIDE_OVER_PADDING = 8
# Examples that are converted at once.
CHUNK = 1024
# How small a standard deviation may be beside its mean: in float32, and before
# it is but the rounding of float64.
FAR = 1e-6
ROUNDED = 1e-12
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the arrays in a file as a data set.

  Integer targets are classes, numbered from 0; floats are targets of a
  regression.

  Args:
    config: reads data_file, normalize, augment, mirror_symmetry,
      train_fraction, validation_fraction, data_seed, seed and dtype.

  Raises:
    DataError: there is no such file, or it holds something else.
    ConfigError: the config does not fit it.
  """
  path = config.data_file
  arrays = _read(path)
  inputs = _inputs(path, arrays, config.dtype)
  targets, num_classes = _targets(path, arrays, config.dtype)
  for name in inputs:
    if len(inputs[name]) != len(targets[name]):
      raise _wrong(
        path,
        f"x_{name} has {len(inputs[name])} examples, and y_{name}"
        f" {len(targets[name])}",
      )
  shape = inputs["train"].shape[1:]
  check_arrays.check(
    config, regression=num_classes is None, images=len(shape) == 3
  )
  if "val" in inputs and config.validation_fraction:
    raise errors.ConfigError(
      f"config.validation_fraction={config.validation_fraction}: must be 0"
      f" with config.data_file={path!r}, which has x_val"
    )
  train = dataset.ArraySplit(inputs.pop("train"), targets.pop("train"))
  splits = dataset.hold_out(train, config)
  for name, x in inputs.items():
    splits[SPLITS[name]] = dataset.ArraySplit(x, targets[name])
  crop_and_flip = None
  if config.augment:
    crop_and_flip = augment.crop_and_flip(
      max(1, min(shape[:2]) // SIDE_OVER_PADDING), flip=config.mirror_symmetry
    )
  return dataset.Dataset(
    name="npz",
    splits=splits,
    input_shape=shape,
    num_outputs=num_classes or train.targets.shape[1],
    num_classes=num_classes,
    augment=crop_and_flip,
    # Of all of x_train, so that it is the same for each run of a sweep.
    normalize=_normalizer(path, config.normalize, train.inputs),
  )


def _wrong(path: str, what: str) -> dataset.DataError:
  return dataset.DataError(f"config.data_file={path!r}: {what}")


def _read(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a file, whose names are complete."""
  try:
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):
      raise _wrong(path, "holds one array alone; write it by numpy.savez")
    with file:
      _check_names(path, file.files)
      return {name: file[name] for name in file.files if _is_ours(name)}
  except FileNotFoundError as e:
    raise _wrong(path, "there is no such file") from e
  except _UNREADABLE as e:
    reason = f"{e}".splitlines()[0] if f"{e}" else type(e).__name__
    raise _wrong(path, f"cannot be read as arrays of numbers ({reason})") from e


def _is_ours(name: str) -> bool:
  return name.startswith(("x_", "y_"))


def _check_names(path: str, names: list[str]) -> None:
  known = [f"{kind}_{split}" for split in SPLITS for kind in "xy"]
  wanted = [n for n in known if "val" not in n or {"x_val", "y_val"} & {*names}]
  missing = [name for name in wanted if name not in names]
  if missing:
    raise _wrong(
      path,
      f"has no array {missing[0]!r}, but {', '.join(names) or 'none'}",
    )
  # For instance x_valid, which would be left out.
  unknown = [n for n in names if _is_ours(n) and n not in known]
  if unknown:
    raise _wrong(
      path,
      f"has an array {unknown[0]!r}; must be one of {', '.join(known)}",
    )


def _splits(arrays: Arrays, kind: str) -> dict[str, np.ndarray]:
  """Returns the inputs ('x') or targets ('y') of each split."""
  return {s: arrays[f"{kind}_{s}"] for s in SPLITS if f"{kind}_{s}" in arrays}


def _inputs(path: str, arrays: Arrays, dtype: str) -> dict[str, np.ndarray]:
  """Returns the inputs, uint8 or float: [N, H, W, C] or [N, D]."""
  inputs = _splits(arrays, "x")
  first = inputs["train"]
  for name, x in inputs.items():
    if not (x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)):
      raise _wrong(path, f"x_{name} is {x.dtype}; must be uint8 or float")
    if x.ndim not in (2, 3, 4):
      raise _wrong(
        path,
        f"x_{name} has shape {x.shape}; must be [N, H, W, C] or [N, H, W] for"
        " images, [N, D] for vectors",
      )
    if not x.size:
      raise _wrong(path, f"x_{name} is empty, of shape {x.shape}")
    if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
      raise _wrong(
        path,
        f"x_{name} is {x.dtype} {x.shape[1:]} an example, and x_train"
        f" {first.dtype} {first.shape[1:]}",
      )
  if first.ndim == 4 and first.shape[1] in (1, 3) and first.shape[3] > 4:
    raise _wrong(
      path,
      f"x_train has shape {first.shape}; channels must come last, as by"
      " numpy.moveaxis(x, 1, -1)",
    )
  if first.ndim == 3:
    inputs = {name: x[..., None] for name, x in inputs.items()}
  if first.dtype == np.uint8:
    return inputs
  return {n: _finite(path, f"x_{n}", x, dtype) for n, x in inputs.items()}


def _finite(path: str, name: str, x: np.ndarray, dtype: str) -> np.ndarray:
  """Returns numbers in the precision of the run."""
  with np.errstate(over="ignore"):
    x = x.astype(np.float64 if dtype == "float64" else np.float32)
  wrong = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
  if wrong.size:
    raise _wrong(
      path,
      f"{name} is not finite in {wrong.size} of {len(x)} examples, the first"
      f" of them {wrong[0]}",
    )
  return x


def _targets(
  path: str, arrays: Arrays, dtype: str
) -> tuple[dict[str, np.ndarray], int | None]:
  """Returns the targets, and the number of classes.

  Returns:
    int32 [N], and how many there are; or floats [N, outputs], and None.
  """
  targets = _splits(arrays, "y")
  for name, y in targets.items():
    if y.dtype.kind not in "biuf":
      raise _wrong(
        path, f"y_{name} is {y.dtype}; must be integer classes or floats"
      )
    if y.ndim not in (1, 2):
      raise _wrong(
        path, f"y_{name} has shape {y.shape}; must be [N], or [N, outputs]"
      )
  real = {n: y for n, y in targets.items() if y.dtype.kind == "f"}
  if real and len(real) < len(targets):
    kinds = ", ".join(f"y_{n} is {y.dtype}" for n, y in targets.items())
    raise _wrong(path, f"{kinds}; must be all integer classes, or all floats")
  if not real:
    return _classes(path, targets)
  columns = {n: y if y.ndim == 2 else y[:, None] for n, y in real.items()}
  widths = {n: y.shape[1] for n, y in columns.items()}
  if len(set(widths.values())) > 1 or not widths["train"]:
    raise _wrong(path, f"targets have different numbers of outputs: {widths}")
  return {
    n: _finite(path, f"y_{n}", y, dtype) for n, y in columns.items()
  }, None


def _classes(
  path: str, targets: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], int]:
  """Returns class labels as int32 [N], and the number of classes."""
  labels = {}
  for name, y in targets.items():
    if y.ndim == 2 and y.shape[1] != 1:  # Keras's CIFAR has [N, 1].
      raise _wrong(
        path,
        f"y_{name} has shape {y.shape}; classes must be [N], as by"
        " numpy.argmax(y, 1) of one-hot rows",
      )
    labels[name] = y.reshape(-1).astype(np.int64)
  known = np.unique(labels["train"])
  if len(known) < 2:
    raise _wrong(path, f"y_train has the classes {known.tolist()} alone")
  first, last = int(known[0]), int(known[-1])
  if first:
    raise _wrong(
      path,
      f"y_train has classes from {first} to {last}; they must start from 0",
    )
  if len(known) <= last:
    gap = int(np.flatnonzero(known != np.arange(len(known)))[0])
    raise _wrong(
      path,
      f"y_train has classes up to {last}, but no example of class {gap};"
      " numpy.unique(y, return_inverse=True) numbers them without gaps",
    )
  for name, y in labels.items():
    unknown = y[(y < 0) | (y > last)]
    if unknown.size:
      raise _wrong(
        path,
        f"y_{name} has the class {unknown[0]}, and y_train 0 to {last}",
      )
  return {n: y.astype(np.int32) for n, y in labels.items()}, last + 1


def _normalizer(path: str, kind: str, inputs: np.ndarray) -> dataset.Normalize:
  """Returns what `config.normalize` names; see its field."""
  if kind == "auto":
    kind = "255" if inputs.dtype == np.uint8 else "none"
  if kind == "none":
    return dataset.identity
  if kind == "255":
    return dataset.Scaled(255)
  mean = _mean(inputs, lambda x: x)
  std = np.sqrt(_mean(inputs, lambda x: np.square(x - mean)))
  size = np.abs(mean)
  far = np.flatnonzero((std > 0) & (std < FAR * size))
  if inputs.dtype == np.float32 and far.size:
    channel = far[0]
    raise _wrong(
      path,
      f"channel {channel} of x_train is {mean[channel]:.7g} +-"
      f" {std[channel]:.2g}, which float32 cannot tell apart; subtract its mean"
      " first, or set config.dtype=float64",
    )
  # A channel that is constant becomes 0; its mean is rounded.
  std[std <= ROUNDED * size] = 1
  return dataset.Scaled(1, tuple(mean.tolist()), tuple(std.tolist()))


def _mean(
  inputs: np.ndarray, of: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
  """Returns the mean of a function of the inputs, per channel, in float64."""
  total = np.zeros(inputs.shape[-1])
  for first in range(0, len(inputs), CHUNK):  # Else there would be a copy.
    part = inputs[first : first + CHUNK].astype(np.float64)
    total += of(part.reshape(-1, inputs.shape[-1])).sum(0)
  return total / (inputs.size // inputs.shape[-1])
