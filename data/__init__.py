"""Data sets: one file per source, `load(config)` for all of them."""

from collections.abc import Sequence

import ml_collections

from configs import errors
from configs import kinds
from data import breakout
from data import dataset
from data import digits
from data import hidden_markov
from data import label_noise
from data import lexicon
from data import matrix_factorization
from data import motifs
from data import npz
from data import regression_1d
from data import signal_noise
from data import teacher_student
from data import tfds_graphs
from data import tfds_images
from data import tfds_text
from data import trigonometric
from data import xor
from data.dataset import DataError as DataError
from data.dataset import Dataset as Dataset

_OFFLINE = {
  "digits": digits.load,
  "teacher_student": teacher_student.load,
  "regression_1d": regression_1d.load,
  "matrix_factorization": matrix_factorization.load,
  "trigonometric": trigonometric.load,
  "signal_noise": signal_noise.load,
  "xor": xor.load,
  "ball": xor.load,
  "hidden_markov": hidden_markov.load,
  "lexicon": lexicon.load,
  "motifs": motifs.load,
  "breakout": breakout.load,
  "npz": npz.load,
}


def load(
  config: ml_collections.ConfigDict, data_dir: str | None = None
) -> Dataset:
  """Returns the data set that the config names, with its label noise.

  Args:
    config: reads the fields of the section "data" in configs/fields/, and seed.
    data_dir: where TFDS keeps its data; None: its own default
      (`TFDS_DATA_DIR`, then ~/tensorflow_datasets).

  Raises:
    DataError: the data is not there and cannot be downloaded.
    ConfigError: the config does not fit the data.
  """
  return load_runs([config], data_dir)[0]


def load_runs(
  runs: Sequence[ml_collections.ConfigDict], data_dir: str | None = None
) -> tuple[Dataset, ...]:
  """Returns the data set of every run of a sweep; see `load`.

  What is equal is read, and kept in memory, once.
  """
  clean: dict[int, Dataset] = {}
  noisy: dict[tuple[int, int, float], Dataset] = {}
  datasets = []
  for run in runs:
    split = dataset.data_seed(run)
    labels = run.seed, run.label_noise
    if split not in clean:
      clean[split] = _load_clean(run, data_dir)
    if not run.label_noise:
      datasets.append(clean[split])
      continue
    if clean[split].num_classes is None:  # Of a file; `check` knows others.
      raise errors.ConfigError(
        f"config.label_noise={run.label_noise}: must be 0 with"
        f" config.data_file={run.data_file!r}, which has real targets"
      )
    if (split, *labels) not in noisy:
      noisy[split, *labels] = dataset.with_noisy_labels(
        clean[split], label_noise.from_config(run), labels
      )
    datasets.append(noisy[split, *labels])
  return tuple(datasets)


def _load_clean(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Dataset:
  if config.dataset in _OFFLINE:
    return _OFFLINE[config.dataset](config)
  if config.dataset in kinds.TEXT_DATASETS:
    return tfds_text.load(config, data_dir)
  if config.dataset in kinds.GRAPH_DATASETS:
    return tfds_graphs.load(config, data_dir)
  return tfds_images.load(config, data_dir)
