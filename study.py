"""Runs one study: `python study.py --study=studies/X.py`.

A study is a grid of trainings, what is measured of each run, its figure and its
claim. Its folder gets cells/ (the run folders), results.csv (one row a run),
figure.png, figure.pdf and claim.json. The same command resumes; cells that are
over are not trained, measured or computed again.

Exit codes: 0 finished, whatever the verdict; 1 cells of workers failed; 2 wrong
input or data. SIGINT (Ctrl-C), SIGTERM and SIGHUP end it after it saved what is
new: a shell says 130, 143 or 129. SIGUSR1 saves, too. docs/scale.md: many
processes and machines.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

from collections.abc import Callable, Sequence
import importlib
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import sys
import types
from typing import Any

from absl import app
from absl import flags
from absl import logging

from configs import errors
from program import cli
from program import flag_errors
from program import jax_setup
from program.cli import fail
from studies.kit import todo
from studies.kit import work
from studies.kit import workers
from studies.kit.study import Study

FLAGS = flags.FLAGS
flags.DEFINE_string(
  "study", None, "The study: studies/X.py, or a file of your own like these."
)
flags.DEFINE_string(
  "preset",
  "laptop",
  "laptop: offline data, minutes on 2 cores; paper: the paper's data and"
  " grids; desktop: of some studies, the paper's data and smaller grids, hours"
  " on 2 cores.",
)
flags.DEFINE_list(
  "workload",
  None,
  "Only these workloads of the preset, separated by commas. Default: all.",
)
flags.DEFINE_list(
  "shape",
  None,
  "Only these shapes, separated by commas: names of cells without the workload."
  " They do not change the default of --workdir, so that a later call can go on"
  " with the others; all that are over are judged together. Default: all.",
)
flags.DEFINE_string(
  "workdir",
  None,
  "Folder of the study. Default: runs/X-PRESET, and the workloads if not all.",
)
flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data; see main.py.")
flags.DEFINE_bool("stop_on_usr1", False, "End after SIGUSR1; see main.py.")
flags.DEFINE_bool(
  "list",
  False,
  "Only name the studies, with claim and time; with --study, its cells.",
)
flags.DEFINE_bool(
  "estimate",
  False,
  "Only say how long the study would take, and train nothing.",
)
flags.DEFINE_integer(
  "workers",
  1,
  "How many cells are done at once, each in a process of its own with its share"
  " of the cores, or a GPU (needs Dask); 1: in turn, in this process.",
  lower_bound=1,
)
flags.DEFINE_string(
  "scheduler",
  None,
  "Address of a scheduler of Dask, whose workers do the cells (docs/scale.md).",
)
flags.DEFINE_string(
  "cell", None, "Do only the cell of this name, and draw and judge nothing."
)
flags.DEFINE_float(
  "cell_seconds",
  None,
  "How long --cell may take: longer ones are saved more often. Default:"
  " estimated.",
  lower_bound=0.0,
)
flags.DEFINE_integer(
  "devices",
  None,
  "To how many CPU devices the runs of a cell are spread, on which their last"
  f" bits depend. Default: the cores, at most {jax_setup.MAX_CPU_DEVICES}.",
  lower_bound=1,
  upper_bound=jax_setup.MAX_CPU_DEVICES,
)

# Every module in it but studies/kit/ is a study.
STUDIES = pathlib.Path(__file__).parent / "studies"
# Has what each of them found, and how long it took.
PAGE = pathlib.Path(__file__).parent / "docs" / "studies.md"


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; a wrong one ends the program."""
  if flag_errors.HELP & set(argv):
    print(f"{__doc__}\n{FLAGS.main_module_help()}\nstudies: {_names()}")
    sys.exit(0)
  try:
    rest = FLAGS(argv)
  except flags.Error as e:
    fail(str(e))
  if len(rest) > 1:
    fail(f"{rest[1]!r}: not a flag; every argument is --NAME=VALUE")
  if FLAGS.list and FLAGS.study is None:
    print("\n".join(_described()))
    sys.exit(0)
  if FLAGS.cell_seconds is not None and FLAGS.cell is None:
    fail(f"--cell_seconds={FLAGS.cell_seconds}: is read only with --cell")
  several = [n for n in ("workers", "scheduler") if FLAGS[n].present]
  if len(several) > 1 or (several and FLAGS.cell is not None):
    fail("--workers, --scheduler, --cell: only one of them")
  if FLAGS.scheduler == "":
    fail("--scheduler='': must be an address, such as tcp://HOST:8786")
  for name in ("workdir", "data_dir"):
    cli.check_folder(name, FLAGS[name].value)
  return rest


def _names() -> str:
  return ", ".join(p.stem for p in sorted(STUDIES.glob("[!_]*.py")))


def _described() -> list[str]:
  """Returns a line for each study: its name, minutes, and main claim."""
  rows = re.findall(
    r"^\| `(\w+)` \| (.*?) \|.*\| ([\d:]+) \|$", PAGE.read_text(), re.MULTILINE
  )
  found = {name: f"{minutes:>6}  {claim}" for name, claim, minutes in rows}
  lines = [
    f"{path.stem:28} {found.get(path.stem, '')}".rstrip()
    for path in sorted(STUDIES.glob("[!_]*.py"))
  ]
  head = f"{'study':28} {'min':>6}  main claim (laptop preset, 2 cores)"
  return [head, *lines]


def load(path: str | None) -> Study:
  """Returns the study in a file, of studies/ or of one's own."""
  file = pathlib.Path(path or "").resolve()
  if not path or not os.path.isfile(file):  # Also of a name that is too long.
    where = f"; there is no such file in {file.parent}" if path else ""
    fail(
      f"--study={path!r}: must be a file, such as {STUDIES}/X.py, X one of"
      f" {_names()}{where}"
    )
  if file.parent == STUDIES.resolve():
    module = importlib.import_module(f"studies.{file.stem}")
  else:
    module = _import(file)
  found = [x for x in vars(module).values() if isinstance(x, Study)]
  if not found:
    fail(f"--study={path!r}: is no study, since it has no STUDY")
  return found[0]


def _import(path: pathlib.Path) -> types.ModuleType:
  """Returns the module in a file, which may import its neighbours."""
  name = f"own_{path.stem}"
  sys.path.append(str(path.parent))
  loader = importlib.machinery.SourceFileLoader(name, str(path))
  spec = importlib.util.spec_from_loader(name, loader)
  assert spec is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # As for any import: data classes look there.
  try:
    loader.exec_module(module)
  except Exception as e:  # Whatever the file raises.
    fail(f"--study={str(path)!r}: {flag_errors.blame(e, name)}")
  return module


def choose(
  cells: Sequence[Any], label: str, names: Sequence[str] | None
) -> list[str]:
  """Returns those of the names of a label, in the order of the cells.

  Args:
    cells: of a study.
    label: "workload" or "shape".
    names: a wrong one ends the program; None: all, returned as [].
  """
  if names is None:
    return []
  found = {cell.labels.get(label): None for cell in cells}
  existing = [name for name in found if name is not None]
  text = ",".join(names)
  if not existing:
    fail(f"--{label}={text!r}: this study has no {label}s to choose from")
  if not names or not set(names) <= set(existing):
    fail(f"--{label}={text!r}: must be some of {', '.join(existing)}")
  return [name for name in existing if name in names]


def _flags_of_a_cell(workdir: pathlib.Path) -> list[str]:
  """Returns what a process needs that does one cell, in any folder."""
  given = [
    f"--study={pathlib.Path(FLAGS.study).resolve()}",
    f"--preset={FLAGS.preset}",
    f"--workdir={workdir.resolve()}",
    f"--devices={FLAGS.devices or jax_setup.default_cpu_devices()}",
  ]
  if FLAGS.data_dir is not None:
    given.append(f"--data_dir={os.path.abspath(cli.path(FLAGS.data_dir))}")
  return given


def main(argv: list[str]) -> None:
  del argv  # Checked by `parse_flags`.
  logging.set_verbosity(logging.ERROR)  # Orbax logs every step it takes.
  study = load(FLAGS.study)
  if FLAGS.preset not in study.presets:
    fail(f"--preset={FLAGS.preset!r}: must be one of {list(study.presets)}")
  cells = every_cell = study.cells(FLAGS.preset)
  workloads = choose(cells, "workload", FLAGS.workload)
  if len(workloads) == len({cell.labels.get("workload") for cell in cells}):
    workloads = []  # All, as without the flag.
  if workloads:
    cells = [cell for cell in cells if cell.labels["workload"] in workloads]
  if shapes := choose(cells, "shape", FLAGS.shape):
    cells = [cell for cell in cells if cell.labels["shape"] in shapes]
  if FLAGS.list:
    print("\n".join(cell.name for cell in cells))
    return
  if FLAGS.cell is not None:
    cells = [cell for cell in cells if cell.name == FLAGS.cell]
    if not cells:
      fail(f"--cell={FLAGS.cell!r}: must be one of those that --list names")
  name = "-".join([pathlib.Path(FLAGS.study).stem, FLAGS.preset, *workloads])
  workdir = pathlib.Path(cli.path(FLAGS.workdir or f"runs/{name}"))
  signals.STOP.usr1_ends = FLAGS.stop_on_usr1
  use_workers = FLAGS.workers > 1 or FLAGS.scheduler is not None
  jax_setup.set_up(
    float64=False,
    spread_runs=True,
    num_cpu_devices=FLAGS.devices,
    preallocate=not use_workers,
  )
  do: Callable[[todo.Work], int] = todo.Work.do
  if use_workers:
    own = _flags_of_a_cell(workdir)
    do = workers.Workers(own, FLAGS.workers, FLAGS.scheduler).do
  try:
    if use_workers:
      workers.require_dask()  # Before data is loaded.
    code = work.run(
      study,
      cells,
      workdir,
      data_dir=FLAGS.data_dir,
      stop=signals.STOP,
      estimate_only=FLAGS.estimate,
      do=do,
      seconds=FLAGS.cell_seconds,
      conclude=FLAGS.cell is None,
      among=every_cell,
    )
  except errors.UserError as e:
    fail(str(e))
  except OSError as e:
    fail(f"--workdir={str(workdir)!r}: cannot be used ({e})")
  sys.exit(code)


if __name__ == "__main__":
  signals.run(lambda: app.run(main, flags_parser=parse_flags))
