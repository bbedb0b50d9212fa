"""A folder knows on which data it was trained, and refuses others."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from analysis import restored
from data import dataset as dataset_lib
from data import fingerprint
from run_folder import disk
from run_folder import files
from run_folder import trained_on
import sharpness_report
from tests import helpers
import train

FIELDS = {"num_neurons": (4,), "num_epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  """A folder of the config of the digits, trained on other images."""
  folder = str(tmp_path_factory.mktemp("own") / "run")
  train.train_and_evaluate(
    helpers.config(**FIELDS), folder, datasets=[helpers.toy_dataset()]
  )
  return folder


def _args(folder):
  return sharpness_report.argparse.Namespace(
    workdir=folder,
    checkpoint="latest",
    measures="loss",
    runs="",
    split="train",
    num_examples=0,
    rho=0.0,
    batch_statistics=False,
    data_dir=None,
  )


CALLS = {
  "resume": lambda folder, **data: train.train_and_evaluate(
    helpers.config(**FIELDS), folder, **data
  ),
  "evaluate": lambda folder, **data: train.evaluate(folder, **data),
  "load": lambda folder, **data: restored.load(folder, **data),
  "sharpness": lambda folder, **data: sharpness_report.report(
    _args(folder), **data
  ),
}


@pytest.mark.parametrize("call", CALLS)
def test_other_data_are_refused(own, call, tmp_path, monkeypatch):
  message = (
    r"was trained on other data \(toy, train: 64 examples, inputs uint8 8x8x1"
    r" \w{8}, targets int64 \w{8}, not digits, train: "
  )
  run = shutil.copytree(own, tmp_path / "run")
  unfinished = shutil.copytree(own, tmp_path / "unfinished")
  (unfinished / files.RESULT).unlink()
  for folder in (run, unfinished):
    with pytest.raises(disk.RunError, match=message):
      CALLS[call](str(folder))
    with pytest.raises(disk.RunError, match=r"toy, train: .* not toy, train: "):
      CALLS[call](str(folder), datasets=[helpers.toy_dataset(seed=1)])
    CALLS[call](str(folder), datasets=[helpers.toy_dataset()])


def test_what_does_not_state_its_data_is_read(own, tmp_path):
  folder = shutil.copytree(own, tmp_path / "run")
  path = folder / files.CONFIG
  record = json.loads(path.read_text())
  for name in (trained_on.DATA, trained_on.GIVEN):
    del record[name]
  path.write_text(json.dumps(record))
  for call in ("resume", "evaluate", "load"):
    CALLS[call](str(folder), datasets=[helpers.toy_dataset(seed=1)])


def test_a_malformed_fingerprint_is_one_line(own, tmp_path):
  folder = shutil.copytree(own, tmp_path / "run")
  path = folder / files.CONFIG
  record = json.loads(path.read_text())
  for wrong in ([], {}, 5, {"splits": {"train": 1, "test": []}}):
    path.write_text(json.dumps(record | {trained_on.DATA: wrong}))
    with pytest.raises(disk.RunError, match=r"cannot be used|other data"):
      train.evaluate(str(folder), datasets=[helpers.toy_dataset()])


# --- the fingerprint ---------------------------------------------------------


def _dataset(inputs, targets=None):
  split = dataset_lib.ArraySplit(
    inputs, np.zeros(len(inputs), np.int32) if targets is None else targets
  )
  return dataclasses.replace(
    helpers.toy_dataset(), name="own", splits={"train": split}
  )


def _differ(a, b):
  """Whether data sets have other fingerprints, once they were in a file."""
  stored = json.loads(json.dumps(fingerprint.of([a])))
  try:
    trained_on.check("runs/x", {trained_on.DATA: stored}, fingerprint.of([b]))
  except disk.RunError:
    return True
  return False


def test_every_integer_counts():
  inputs = np.arange(30_000, dtype=np.uint8).reshape(-1, 3)
  other = inputs.copy()
  other[7, 1] += 1
  assert not _differ(_dataset(inputs), _dataset(inputs[:, ::-1][:, ::-1]))
  for changed in (other, inputs[::-1], inputs[:-1], inputs.astype(np.int16)):
    assert _differ(_dataset(inputs), _dataset(changed))
  labels = np.arange(len(inputs))
  assert _differ(_dataset(inputs), _dataset(inputs, labels))


def test_last_bits_of_real_numbers_do_not_count():
  """They are those of the machine that made them."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(4000, 5)).astype(np.float32)
  near = inputs * (1 + 1e-7 * rng.normal(size=inputs.shape))
  assert not _differ(_dataset(inputs), _dataset(near.astype(np.float32)))
  other = inputs.copy()
  other[3999, 4] += 1
  exchanged = inputs[[1, 0, *range(2, 4000)]]
  for changed in (other, exchanged, -inputs, inputs.astype(np.float64)):
    assert _differ(_dataset(inputs), _dataset(changed))
  inputs[0, 0] = np.nan
  assert not _differ(_dataset(inputs), _dataset(inputs.copy()))


def test_streams_have_a_version_and_a_number():
  def stream(**changed):
    facts = {"num_examples": 9, "version": "5.1.0"} | changed
    split = dataset_lib.StreamSplit(
      train_batches=iter, eval_batches=iter, **facts
    )
    return dataclasses.replace(_dataset(np.zeros(1)), splits={"train": split})

  assert not _differ(stream(), stream())
  assert _differ(stream(), stream(version="5.0.0"))
  assert _differ(stream(), stream(num_examples=8))
  assert _differ(stream(), _dataset(np.zeros(9)))


def test_runs_of_a_sweep_each_count():
  """Whether they share arrays, or have equal ones of their own."""
  rng = np.random.default_rng(0)
  for inputs in (rng.integers(0, 9, (8, 2)), rng.normal(size=(8, 2))):
    a, b = _dataset(inputs), _dataset(inputs + 1)
    prints = [fingerprint.of(runs) for runs in ([a, b], [b, a], [a, a])]
    assert prints[2] == fingerprint.of([a, _dataset(inputs.copy())])
    for i in range(3):
      for j in range(i):
        facts = {trained_on.DATA: prints[i]}
        with pytest.raises(disk.RunError):
          trained_on.check("runs/x", facts, prints[j])
