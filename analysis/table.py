"""Finished runs as a table: one row a run, read from the run folders."""

from collections.abc import Iterable, Mapping
import os
import pathlib
from typing import Any

import pandas as pd

from configs import fields
from configs import model_args
from configs import reading
from run_folder import disk
from run_folder import files
from run_folder import records

# A row describes one run, so what lists the runs of a sweep is no column.
FIELDS = {
  name: field
  for name, field in fields.FIELDS.items()
  if not field.each and "sweep" not in field.read_if
}
_TEXTS = ["folder", "run", "status", "device"] + [
  name for name, field in FIELDS.items() if field.kind in (str, tuple)
]


def read_frame(folders: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
  """Returns the runs of finished run folders.

  Columns: 'folder' and 'run' (its name there, '' if it is alone); every config
  field, a tuple as '300x100'; status, parameter counts, steps, seconds, device;
  'final_<metric>' and 'chosen_<metric>' of the last evaluation and of the one
  with the best validation metric; 'best_test_<metric>' over all evaluations.
  Accuracies are fractions; what a run has not is NaN.

  A field that a run does not read holds its default, but rho, which is then 0.
  A run of SAM with rho = 0 is one of its base optimizer, and named so.

  Raises:
    files.RunError: a folder is not that of a finished run.
  """
  rows = [
    _row(os.fspath(folder), record)
    for folder in folders
    for record in files.read_runs(os.fspath(folder))
  ]
  return pd.DataFrame(rows)


def _row(folder: str, record: files.Record) -> files.Record:
  row = {"folder": folder, "run": record["run"]}
  row |= _fields(record["config"])
  row |= {name: record[name] for name in records.FACTS}
  for prefix, key in (("final_", "final"), ("chosen_", "best")):
    row |= _numbers(prefix, record.get(key, {}))
  return row | {n: v for n, v in record.items() if n.startswith("best_test_")}


def _fields(config: Mapping[str, Any]) -> files.Record:
  config = dict(config)
  config["base_optimizer"] = reading.base_optimizer(config)
  if config["optimizer"] != "sam" or config["rho"] == 0:
    config |= {"optimizer": config["base_optimizer"], "rho": 0.0}
  read = reading.all_read(config) | {"rho", "base_optimizer"}
  values = {
    name: config[name] if name in read else field.default
    for name, field in FIELDS.items()
  }
  return {
    name: "x".join(map(str, value)) or "0"
    if isinstance(value, (tuple, list))
    else value
    for name, value in values.items()
  }


def _numbers(prefix: str, record: Mapping[str, Any]) -> dict[str, float]:
  return {
    prefix + name: value
    for name, value in record.items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
  }


def split_model_args(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
  """Returns runs whose numbers in 'model_args' have columns, and their names.

  So the width of a model of one's own, 'width=64', is a size, in the column
  'model_args.width', and what is left of 'model_args' is no size.
  """
  args = runs["model_args"]
  numbers = pd.DataFrame(
    [model_args.numbers(text) for text in args], index=runs.index
  ).add_prefix("model_args.")
  numbers = numbers.fillna(0)  # Where a run does not set it.
  rest = runs.assign(model_args=args.map(model_args.without_numbers))
  return rest.join(numbers), list(numbers)


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
  """Writes the runs, one line each; `read_csv` returns the same frame."""
  disk.write(pathlib.Path(path), frame.to_csv(index=False))


def read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
  """Returns the frame that `write_csv` wrote, bit for bit."""
  frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str))
  return frame.fillna(dict.fromkeys(_TEXTS, ""))
