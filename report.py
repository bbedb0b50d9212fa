"""Compares runs: `python report.py runs/* [--out=FOLDER]`.

Prints the metric by whatever differs between the runs, the best rho of every
size, and what SAM gains over its base optimizer, paired by seed. With --out it
also writes results.csv (one row a run), figure.png and figure.pdf. A folder
without a finished run is skipped. Exit codes: 0, or 2 for wrong input.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import pathlib
import sys
from typing import Any

import pandas as pd

from analysis import captions
from analysis import selection
from analysis import statistics
from analysis import table as table_lib
from analysis import verdicts
from program import cli
from program.cli import fail
from run_folder import files
from run_folder import scoring

SIZE = "num_unpruned_parameters"
# These, and the numbers of a model of one's own, go with the size, and split no
# curve.
_SHAPE = ("num_neurons", "num_filters", "hidden_size")


def warn(message: str) -> None:
  print(f"warning: {cli.one_line(message)}", file=sys.stderr)


def parse_args() -> argparse.Namespace:
  """Returns folders, out, metric and choose_by."""
  parser = cli.Parser(__doc__)
  parser.add_argument(
    "folders", nargs="+", type=cli.path, help="run folders, as in runs/*"
  )
  parser.add_argument(
    "--out", type=cli.path, help="folder for results.csv and the figure"
  )
  parser.add_argument(
    "--metric",
    help="default: the first that a run has of "
    + ", ".join(f"final_test_{name}" for name in scoring.SCORES),
  )
  parser.add_argument(
    "--choose_by",
    help="metric by which rho is chosen; default: that of the validation split"
    " if every run has one, else --metric",
  )
  args = parser.parse_args()
  cli.check_folder("out", args.out)
  if "" in args.folders:
    fail("folders: '' is no folder")
  return args


def read(folders: list[str]) -> pd.DataFrame:
  """Returns the runs of the folders, each once; says what it leaves out."""
  frames = []
  for folder in dict.fromkeys(folders):
    try:
      frames.append(table_lib.read_frame([folder]))
    except files.RunError as e:
      warn(f"skipped: {e}")
  if not frames:
    fail("no folder holds a finished run")
  runs = pd.concat(frames, ignore_index=True)
  repeated = runs.duplicated(
    [name for name, field in table_lib.FIELDS.items() if not field.cadence]
  )
  if repeated.any():
    warn(f"left out: {repeated.sum()} runs that repeat another one")
  return runs[~repeated].reset_index(drop=True)


def pick_metrics(
  runs: pd.DataFrame, metric: str | None, choose_by: str | None
) -> tuple[str, str]:
  """Returns the metric to report and the one by which rho is chosen."""
  finished = runs[runs["status"] == "finished"]
  known = [
    name
    for name in finished.dropna(axis="columns", how="all").columns
    if name.endswith(tuple(f"_{metric}" for metric in scoring.SCORES))
  ]
  for flag, name in (("metric", metric), ("choose_by", choose_by)):
    if name and name not in known:
      fail(f"--{flag}={name!r}: must be one of {', '.join(known) or 'none'}")
  for default in (f"final_test_{name}" for name in scoring.SCORES):
    if not metric and default in known:
      metric = default
  if not metric:
    fail("no run finished with an evaluation on the test set")
  validation = selection.validation_metric(metric)
  of_metric = finished[finished[metric].notna()]
  if validation in known and of_metric[validation].notna().all():
    return metric, choose_by or validation
  return metric, choose_by or metric


def differing(runs: pd.DataFrame) -> list[str]:
  """Returns the config fields in which runs differ, but for cadence."""
  sam = runs[runs["rho"] > 0]
  return [
    name
    for name, field in table_lib.FIELDS.items()
    if not field.cadence
    and (sam if name in selection.SAM_ONLY else runs)[name].nunique() > 1
  ]


def conditions(runs: pd.DataFrame, names: list[str]) -> list[str]:
  """Returns the fields that tell runs apart beside size, rho and seed.

  A field that follows from those before it is left out.
  """
  kept: list[str] = []
  for name in names:
    if name in ("optimizer", "rho", "seed", *_SHAPE):
      continue
    if not kept or runs.groupby(kept)[name].nunique().max() > 1:
      kept.append(name)
  return kept


def print_table(title: str, frame: pd.DataFrame, metric: str) -> None:
  """Prints a frame, with the digits that the metric deserves."""
  digits = 2 if selection.scale(metric) == 100 else 4
  formats = {
    name: "{:g}"
    if name in table_lib.FIELDS or name.startswith("model_args.")
    else f"{{:.{digits}f}}"
    for name in frame.select_dtypes("float").columns
  }
  text = frame.rename(columns={SIZE: "parameters"}).to_string(
    index=False,
    formatters={name: form.format for name, form in formats.items()},
    na_rep="-",
  )
  print(f"\n{title}\n{text}")


def print_means(runs: pd.DataFrame, group: list[str], metric: str) -> None:
  """Prints mean, standard error and n of the metric over seeds."""
  runs = runs.assign(
    value=selection.scale(metric)
    * runs[metric].where(runs.status == "finished"),
    diverged=runs["status"] == "diverged",
  )
  means = runs.groupby([*group, "rho", "optimizer"]).agg(
    mean=("value", "mean"),
    stderr=("value", "sem"),
    n=("value", "count"),
    diverged=("diverged", "sum"),
  )
  if not means["diverged"].any():
    del means["diverged"]
  title = f"{captions.metric(metric)}, mean and standard error over n seeds"
  print_table(title, means.reset_index(), metric)


def print_best_rho(
  runs: pd.DataFrame, group: list[str], choose_by: str
) -> None:
  """Prints the best rho of every size, and how it was chosen."""
  chosen = selection.optimal_rho(runs, group, choose_by)
  chosen[choose_by] *= selection.scale(choose_by)
  if "test" in choose_by:
    warn(
      f"rho is chosen by {captions.words(choose_by)}, on the examples it is"
      " reported on; hold some out with config.validation_fraction"
    )
  title = f"best rho, chosen by {captions.metric(choose_by)}"
  print_table(title, chosen, choose_by)


def print_gains(
  runs: pd.DataFrame, group: list[str], metric: str, choose_by: str
) -> pd.DataFrame:
  """Prints and returns the summary of what SAM gains."""
  gains = selection.gains(runs, group, metric, choose_by)
  summary = statistics.summary(gains, group)
  bases = "/".join(sorted(runs["base_optimizer"].unique()))
  title = f"{captions.gain(metric)}, SAM over {bases}, paired by seed"
  shown = [*group, "rho", "n", "base", "sam", "mean", "stderr"]
  shown += ["low", "high", "robust_low", "robust_high", "naive"]
  if summary.empty:
    print("\nno gain: no seed finished with both SAM and its base optimizer")
    return summary
  names = {"mean": "gain", "low": "95% low", "high": "95% high"}
  names |= {"robust_low": "BCa low", "robust_high": "BCa high"}
  print_table(title, summary[shown].rename(columns=names), metric)
  print(
    "(each seed's gain is at the rho that is best on the other seeds; naive: at"
    " the rho of the table, chosen on all)"
  )
  if summary["n"].min() < verdicts.MIN_SEEDS:
    print(f"(fewer than {verdicts.MIN_SEEDS} seeds cannot be tested)")
  if dropped := gains.attrs["num_dropped"]:
    print(f"({dropped} pairs left out: a run diverged or is missing)")
  return summary


def draw(
  runs: pd.DataFrame,
  summary: pd.DataFrame,
  names: list[str],
  metric: str,
  folder: pathlib.Path,
) -> None:
  """Draws the gain against the size and, by condition, the metric by rho."""
  # Takes a second.
  from analysis import curves
  from analysis import figures

  sam = runs[runs["rho"] > 0]
  summary = summary.assign(
    condition=[_title(row) for row in summary[names].to_dict("records")]
  )
  x, by = _gain_axes(summary, names) if len(summary) else (None, None)
  cases = _cases(sam, names) if sam["rho"].nunique() > 1 else []
  titles = ["gain of SAM"] * bool(x) + [_title(case) for case in cases]
  if not titles:
    print("no figure: nothing varies but the seed")
    return
  figure, axes = figures.create(len(titles), titles)
  if x:
    curves.gains(axes[0], summary, metric, x, by)
    if by:
      figures.legend(axes[0], captions.words(by))
  for ax, case in zip(axes[bool(x) :], cases, strict=True):
    part = runs
    for name, value in case.items():
      shared = (part["rho"] == 0) & (name in selection.SAM_ONLY)
      part = part[(part[name] == value) | shared]
    curves.by_rho(ax, part, metric, SIZE)
    figures.legend(ax, "parameters")
  figures.save(figure, folder)


def _gain_axes(
  summary: pd.DataFrame, names: list[str]
) -> tuple[str | None, str | None]:
  """Returns along which column to draw the gain, and of which its curves are.

  Along the size if it varies under one condition, else along the condition.
  """
  if summary.groupby("condition")[SIZE].nunique().max() > 1:
    by = names[0] if len(names) == 1 else "condition"
    return SIZE, by if names else None
  if len(names) == 1 and table_lib.FIELDS[names[0]].kind in (int, float):
    return (names[0] if len(summary) > 1 else None), None
  return None, None


def _cases(runs: pd.DataFrame, names: list[str]) -> list[dict[Any, Any]]:
  """Returns the combinations of the fields' values; of no field, one."""
  if not names:
    return [{}]
  return runs[names].drop_duplicates().sort_values(names).to_dict("records")


def _title(case: dict[Any, Any]) -> str:
  """Returns a combination of values in words."""
  return ", ".join(
    f"{captions.words(name)} {captions.value(value)}"
    for name, value in case.items()
  )


def main() -> None:
  args = parse_args()
  runs = read(args.folders)
  metric, choose_by = pick_metrics(runs, args.metric, args.choose_by)
  lacks = (runs["status"] == "finished") & runs[metric].isna()
  if lacks.any():
    warn(f"left out: {lacks.sum()} runs that have no {metric}")
    runs = runs[~lacks]
  runs, sizes = table_lib.split_model_args(runs)
  sizes = [name for name in sizes if runs[name].nunique() > 1]
  fields = differing(runs) + sizes
  print(f"{len(runs)} runs; they differ in {', '.join(fields) or 'nothing'}")
  names = conditions(runs, [name for name in fields if name not in sizes])
  group = [*names, SIZE, *(name for name in _SHAPE if name in fields), *sizes]
  print_means(runs, group, metric)
  if runs.loc[runs["rho"] > 0, "rho"].nunique() > 1:
    print_best_rho(runs, group, choose_by)
  summary = print_gains(runs, group, metric, choose_by)
  if args.out:
    out = pathlib.Path(args.out)
    try:
      out.mkdir(parents=True, exist_ok=True)
      table_lib.write_csv(runs, out / "results.csv")
      draw(runs, summary, names, metric, out)
    except OSError as e:
      fail(f"--out={args.out}: cannot be written ({e})")
    print(f"\nwritten to {args.out}")


if __name__ == "__main__":
  signals.run(main)
