"""Measures the minimum that a run found: `sharpness_report.py --workdir=RUN`.

Writes sharpness.json, spectrum.png and landscape.png (and .pdf) into the folder
of the run, or of each run of a sweep, and TensorBoard scalars. `measures.py`
says what each measure is. What was measured before at the same place stays.

Exit codes: 0 measured, 2 wrong input or data.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Sequence
import pathlib
import sys
from typing import Any

from absl import logging
import numpy as np
import tqdm

from analysis import figures
from analysis import landscapes
from configs import errors
from configs.fields import field
from program import cli
from program import jax_setup
from program.cli import fail
from run_folder import disk
from run_folder import files
from run_folder import tensorboard

FILE = "sharpness.json"
# What a record is about.
PLACE = (
  "run",
  "step",
  "split",
  "num_examples",
  "dimension",
  "batch_statistics",
  "learning_rate",
  "rho",
)


def parse_args() -> argparse.Namespace:
  parser = cli.Parser(__doc__)
  if {"-h", "--help"} & set(sys.argv[1:]):
    from sharpness import measures  # It imports JAX.

    parser.epilog = f"measures: {', '.join(measures.MEASURES)}"
  parser.add_argument(
    "--workdir", required=True, type=cli.path, help="the run folder"
  )
  parser.add_argument(
    "--checkpoint", default="latest", help="latest, best or a step"
  )
  parser.add_argument(
    "--measures",
    default="",
    help="names, separated by commas, or 'all'; default: all but the slow ones",
  )
  parser.add_argument(
    "--runs",
    default="",
    help="names of runs of a sweep, separated by commas; default: all",
  )
  parser.add_argument(
    "--split", default="train", help="train, validation or test"
  )
  parser.add_argument(
    "--num_examples",
    type=int,
    default=0,
    help="random examples of the split (of ImageNet, the first); 0: all",
  )
  parser.add_argument(
    "--rho",
    type=float,
    default=0.0,
    help="radius of the neighbourhoods; 0: the run's own, or 0.05 without SAM",
  )
  parser.add_argument(
    "--batch_statistics",
    action="store_true",
    help="normalize by the batch, not by BatchNorm's running averages",
  )
  parser.add_argument("--data_dir", help="where TFDS keeps its data")
  args = parser.parse_args()
  for name in ("workdir", "data_dir"):
    cli.check_folder(name, getattr(args, name))
  for name, most in (("num_examples", field.MAX_INT), ("rho", field.MAX_FLOAT)):
    value = getattr(args, name)
    if not 0 <= value <= most:
      fail(f"--{name}={value}: must be >= 0 and <= {most:.10g}")
  return args


def main() -> None:
  logging.set_verbosity(logging.ERROR)  # Orbax logs what it reads.
  args = parse_args()
  try:
    report(args)
  except errors.UserError as e:
    fail(str(e))
  except OSError as e:
    fail(f"--workdir={args.workdir!r}: cannot be used ({e})")


def report(
  args: argparse.Namespace, datasets: Sequence[Any] | None = None
) -> None:
  """Measures, draws and prints.

  Args:
    args: see `parse_args`.
    datasets: see `restored.load`.
  """
  config = files.load_config(args.workdir)
  jax_setup.set_up(float64=config.dtype == "float64")
  from analysis import restored
  from sharpness import measures
  from training import objectives

  try:
    names = measures.select(args.measures)
  except ValueError as e:
    fail(str(e))
  alone = [name for name in names if name in measures.SLOW]
  if args.batch_statistics and alone:
    fail(
      f"--measures={','.join(alone)}: excludes --batch_statistics, since it"
      " takes every example alone"
    )
  runs = restored.load(
    args.workdir, args.checkpoint, args.data_dir, datasets=datasets
  )
  num_devices = files.num_devices(args.workdir)
  provenance = files.provenance()
  for run in _select(runs, args.runs):
    if not run.is_finite():
      print(f"warning: skipped: run {run.name!r} diverged", file=sys.stderr)
      continue
    objective = run.objective(
      split=args.split,
      num_examples=args.num_examples,
      batch_statistics=args.batch_statistics,
    )
    point = objectives.point(
      run.config,
      objective,
      learning_rate=run.learning_rate,
      rho=args.rho,
      num_devices=num_devices,
    )
    place = (
      run.name,
      run.step,
      args.split,
      objective.num_examples,
      objective.dim,
      args.batch_statistics,
      point.learning_rate,
      point.rho,
    )
    chosen = list(names)
    if "m_sharpness" in names and not objective.has_microbatches(point.m):
      print(
        f"warning: skipped: m_sharpness, since m = {point.m} is not the size of"
        " the batches whose statistics normalize",
        file=sys.stderr,
      )
      chosen.remove("m_sharpness")
    bar = tqdm.tqdm(
      chosen, disable=not sys.stderr.isatty(), leave=False, unit="measure"
    )
    found = files.finite(measures.measure(point, bar))
    disk.refuse_links(run.folder, filter(None, [run.name]))
    folder = run.folder / run.name
    folder.mkdir(exist_ok=True)
    record = _add(folder, dict(zip(PLACE, place, strict=True)), found)
    disk.write_json(folder / FILE, record | provenance)
    show(found, f"{folder}, step {run.step}, {args.split} split", point.rho)
    with disk.usable(folder / FILE):  # Which has curves from before.
      draw(record, folder)
    _write_scalars(found, run.step, folder)


def _select(runs: list[Any], names: str) -> list[Any]:
  """Returns the runs of these names; of no names, all."""
  if not names:
    return runs
  by_name = {run.name: run for run in runs}
  wrong = [name for name in names.split(",") if name not in by_name]
  if wrong:
    fail(f"--runs={wrong[0]!r}: must be one of {', '.join(by_name)}")
  return [by_name[name] for name in names.split(",")]


def _add(
  folder: pathlib.Path, place: files.Record, found: files.Record
) -> files.Record:
  """Returns what was found here, with what was found here before."""
  path = folder / FILE
  before = {}
  if path.exists():
    try:
      before = disk.read_object(path)
    except ValueError as e:
      raise files.RunError(f"{path}: cannot be used ({e})") from e
  same = all(before.get(name) == value for name, value in place.items())
  return (before if same else {}) | place | found


def _numbers(found: files.Record) -> dict[str, float]:
  return {name: x for name, x in found.items() if isinstance(x, float)}


def show(found: files.Record, title: str, rho: float) -> None:
  """Prints the numbers with their errors."""
  from sharpness import measures

  numbers = _numbers(found)
  print(f"{title}, rho = {rho:g}")
  for name, value in numbers.items():
    if name.endswith(measures.ERRORS):
      continue
    errors = [numbers[name + e] for e in measures.ERRORS if name + e in numbers]
    text = f" +- {errors[0]:.2g}" if errors else ""
    print(f"  {name:30} {value:.6g}{text}")


def _write_scalars(
  found: files.Record, step: int, folder: pathlib.Path
) -> None:
  writer = tensorboard.EventsWriter(str(folder), adds=True)
  scalars = {f"minimum/{n}": value for n, value in _numbers(found).items()}
  writer.write_scalars(step, scalars)
  writer.close()


def draw(record: files.Record, folder: pathlib.Path) -> None:
  """Draws spectrum.png and landscape.png of what was measured."""
  split = {"train": "training"}.get(record["split"], record["split"])
  if record.get("spectrum_density"):
    figure, axes = figures.create(1, [f"Hessian of the {split} loss"])
    landscapes.spectrum(
      axes[0],
      record["spectrum_eigenvalue"],
      record["spectrum_density"],
      record["spectrum_density_stderr"],
      record.get("top_eigenvalues", ()),
    )
    figures.save(figure, folder, "spectrum")
  drawn = [name for name in ("line", "plane") if f"{name}_loss" in record]
  if not drawn:
    return
  figure, axes = figures.create(len(drawn))
  for ax, name in zip(axes, drawn, strict=True):
    offsets = record[f"{name}_offset"]
    losses = np.array(record[f"{name}_loss"], float)  # None becomes NaN.
    if name == "line":
      y_label = f"{split} loss"
      landscapes.line(ax, offsets, {"loss": losses}, y_label=y_label)
    else:
      landscapes.plane(ax, offsets, offsets, losses)
  figures.save(figure, folder, "landscape")


if __name__ == "__main__":
  signals.run(main)
