"""Finds the files of a TFDS data set, or has TFDS make them.

TFDS itself goes on trying for minutes when there is no network. Here a missing
data set is an error within seconds, that says what to do.
"""

from collections.abc import Iterator, Sequence
import contextlib
import io
import os
import pathlib
import queue
import sys
import threading
from typing import Any
import urllib.error
import urllib.request

from data import dataset
from data import published
from data import quiet_tensorflow

PROBE_SECONDS = 4.0
# What ImageNet is made from; its licence forbids TFDS to download it.
IMAGENET_FILES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")
# What TFDS calls a data set, where it has another name.
TFDS_NAMES = {
  "grc_perseus": "universal_dependencies/grc_perseus",
  "sst2": "glue/sst2",
}
# A config to try without any download.
OFFLINE_CONFIGS = {
  "mnist": "configs/mlp_digits.py",
  "fashion_mnist": "configs/mlp_digits.py",
  "cifar10": "configs/resnet_digits.py",
  "cifar100": "configs/resnet_digits.py",
  "svhn_cropped": "configs/resnet_digits.py",
  "imagenet2012": "configs/resnet_digits.py",
  "grc_perseus": "configs/transformer_hmm.py",
  "sst2": "configs/lstm_lexicon.py",
  "ogbg_molpcba": "configs/gcn_motifs.py",
}


def open_builder(name: str, data_dir: str | None, splits: Sequence[str]) -> Any:
  """Returns the TFDS builder of a data set whose files are there.

  Args:
    name: of the data set in the config.
    data_dir: folder of all TFDS data; None: `TFDS_DATA_DIR`, then
      ~/tensorflow_datasets.
    splits: what the files must hold.

  Raises:
    DataError: the files are missing and cannot be made, or are damaged.
  """
  folder_of_all = root(data_dir)
  quiet_tensorflow.set_up()
  import tensorflow_datasets as tfds

  tfds_name = TFDS_NAMES.get(name, name)
  folder = folder_of_all / tfds_name
  with readable(folder):
    builder = tfds.builder(tfds_name, data_dir=str(folder_of_all))
    folder = pathlib.Path(builder.data_dir)
    prepared = (folder / "dataset_info.json").exists()
  if not prepared:
    _prepare(builder, name, folder_of_all)
  quiet_tensorflow.load()
  for split in splits:
    if split not in builder.info.splits:
      raise dataset.DataError(
        f"{folder}: has no split {split!r}; delete the folder to have it made"
        " again from all files"
      )
  return builder


@contextlib.contextmanager
def readable(folder: Any) -> Iterator[None]:
  """Turns what TFDS and TensorFlow raise over damaged files to `DataError`."""
  try:
    yield
  except Exception as e:
    raise dataset.DataError(
      f"{folder}: cannot be read ({_reason(e)}); if its files are damaged,"
      " delete it to have it made again"
    ) from e


def read_all(
  builder: Any, split: str, features: Sequence[str]
) -> Iterator[dict[str, Any]]:
  """Yields the examples of a split in the order of its files.

  Args:
    builder: from `open_builder`.
    split: its name in TFDS.
    features: which of their features they have.

  Raises:
    DataError: the files are damaged.
  """
  import tensorflow_datasets as tfds

  with readable(builder.data_dir):
    examples = builder.as_dataset(
      split=split,
      shuffle_files=False,
      decoders=tfds.decode.PartialDecoding(dict.fromkeys(features, True)),
      read_config=tfds.ReadConfig(try_autocache=False),
    )
    yield from tfds.as_numpy(examples)


def root(data_dir: str | None) -> pathlib.Path:
  """Returns the folder of all data, which need not be there.

  Raises:
    DataError: it is no folder, or may not be read.
  """
  path = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  folder = pathlib.Path(path).expanduser().absolute()
  if folder.exists() and not folder.is_dir():
    raise dataset.DataError(f"data_dir={str(folder)!r}: is not a folder")
  if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
    raise dataset.DataError(f"data_dir={str(folder)!r}: may not be read")
  return folder


def prepared(name: str, data_dir: str | None) -> list[pathlib.Path]:
  """Returns the files of all versions of a data set that TFDS has written."""
  folders = [
    info.parent for info in root(data_dir).glob(f"{name}/*/dataset_info.json")
  ]
  return [f for folder in folders for f in folder.iterdir() if f.is_file()]


def _prepare(builder: Any, name: str, root: pathlib.Path) -> None:
  """Has TFDS download the data set and write its files."""
  tfds_name = TFDS_NAMES.get(name, name)
  missing = f"config.dataset={name!r}: not found in {builder.data_dir}"
  if not root.exists():
    missing += f" (there is no folder {root})"
  otherwise = (
    f"{published.missing(name, root)}or try {OFFLINE_CONFIGS[name]}, which"
    " needs no download"
  )
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    manual = root / "downloads" / "manual"
    if not all((manual / file).exists() for file in IMAGENET_FILES):
      raise dataset.DataError(
        f"{missing}; put {' and '.join(IMAGENET_FILES)} (from"
        f" https://image-net.org/download-images) into {manual}, {otherwise}"
      )
  else:
    url = next(iter(builder.url_infos))
    if reason := _unreachable(url):
      raise dataset.DataError(
        f"{missing}, and {url} cannot be reached ({reason}); where there is"
        ' network, run python -c "import tensorflow_datasets as tfds;'
        f" tfds.builder('{tfds_name}', data_dir='{root}')"
        '.download_and_prepare()"'
        f" and copy {root / tfds_name} to this machine, {otherwise}"
      )
  quiet_tensorflow.load()
  import tensorflow_datasets as tfds

  tfds.display_progress_bar(sys.stderr.isatty())
  print(
    f"{name}: making {builder.data_dir}, once"
    f" (download: {builder.info.download_size})",
    file=sys.stderr,
    flush=True,
  )
  try:
    with contextlib.redirect_stdout(io.StringIO()):  # Says the same.
      builder.download_and_prepare()
  except Exception as e:
    raise dataset.DataError(
      f"{missing}, and making it failed ({_reason(e)}); mend that, {otherwise}"
    ) from e


def _unreachable(url: str) -> str:
  """Returns why nothing can be downloaded from there; '' if it can."""
  # In a thread, because no timeout ends the look-up of a host's name.
  answers: queue.SimpleQueue[str] = queue.SimpleQueue()
  thread = threading.Thread(
    target=lambda: answers.put(_probe(url)), daemon=True
  )
  thread.start()
  try:
    return answers.get(timeout=PROBE_SECONDS + 1)
  except queue.Empty:
    return f"no answer in {PROBE_SECONDS:g} s"


def _probe(url: str) -> str:
  try:
    urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
  except urllib.error.HTTPError as e:
    # TFDS retries these for minutes, and fails at once for all others.
    return _reason(e) if e.code >= 500 else ""
  except Exception as e:
    return _reason(getattr(e, "reason", e))
  return ""


def _reason(error: object) -> str:
  """Returns the first line of what went wrong."""
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__
