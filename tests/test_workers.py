"""A study over workers leaves what one process leaves, also if they die."""

import os
import pathlib
import re
import signal
import sys
import time
import types

from absl.testing import flagsaver
import pytest

from program import leash
from studies.kit import workers
import study as study_lib
from tests import cells as cells_lib

needs_dask = pytest.mark.skipif(
  not any((pathlib.Path(p) / "distributed").is_dir() for p in sys.path),
  reason="Dask is not installed: pip install -r requirements-cluster.txt",
)
linux = pytest.mark.skipif(
  not pathlib.Path("/proc/self/stat").exists(), reason="needs Linux's /proc"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
  folder = tmp_path_factory.mktemp("workers")
  (folder / "my_study.py").write_text(cells_lib.STUDY)
  return cells_lib.Program(folder)


@pytest.fixture(scope="module")
def in_turn(program):
  """Returns the folder of the study, by one process."""
  done = program.run("--workdir=in_turn")
  assert done.code == 0, done.err
  return program.folder / "in_turn"


def test_a_cell_alone_is_that_of_the_study(program, in_turn):
  """As a job of an array does it; the command without it does the others."""
  listed = program.run("--list")
  assert listed.out.split() == ["width4", "width5", "width6"]
  folder = program.folder / "cells"
  done = program.run("--workdir=cells", "--cell=width5")
  assert done.code == 0, done.err
  assert "[1/1] width5: 4 runs in " in done.out
  assert [p.name for p in folder.iterdir()] == ["cells"]
  assert [p.name for p in (folder / "cells").iterdir()] == ["width5"]
  assert "1 of them over" in program.run("--workdir=cells").out
  assert cells_lib.left(folder) == cells_lib.left(in_turn)


@needs_dask
def test_workers_leave_what_one_process_leaves(program, in_turn):
  folder = program.folder / "by_two"
  done = program.run("--workdir=by_two", "--workers=2")
  assert done.code == 0, done.err
  assert done.err == ""
  assert len(re.findall(r"\[\d/3\] width\d: 4 runs in", done.out)) == 3
  assert cells_lib.left(folder) == cells_lib.left(in_turn)
  logs = sorted((folder / "cells").glob(f"*/{leash.LOG}"))
  assert len(logs) == 3
  assert all("4 runs in 1 cells" in log.read_text() for log in logs)
  assert not list(folder.glob(".workers*"))


@needs_dask
@linux
def test_ctrl_c_saves_all_cells(program):
  """It comes to all processes of a terminal."""
  folder = program.folder / "stopped"
  flags = ("--preset=long", f"--workdir={folder.name}", "--workers=2")
  process = program.start(*flags)
  cells = cells_lib.wait_for_training(process, folder, num=2)
  os.killpg(process.pid, signal.SIGINT)
  done = program.end(process)
  assert done.code == -signal.SIGINT
  assert "stopped; the same command resumes" in done.out
  for name, (pid, _) in cells.items():
    log = (folder / "cells" / name / leash.LOG).read_text()
    assert "stopped and saved at step" in log
    assert not pathlib.Path(f"/proc/{pid}").exists()


@needs_dask
@linux
@pytest.mark.parametrize("signals", [["INT", "INT"], ["KILL"]])
def test_cells_end_with_the_program(program, signals):
  """A second Ctrl-C does not wait for them."""
  folder = program.folder / "-".join(signals)
  process = program.start(
    "--preset=long", f"--workdir={folder.name}", "--workers=2"
  )
  cells_lib.wait_for_training(process, folder)
  for name in signals:
    process.send_signal(signal.Signals[f"SIG{name}"])
    time.sleep(0.1)  # Else two are one.
  program.end(process)
  end = time.monotonic() + 60
  while cells_lib.programs_of_cells(folder) and time.monotonic() < end:
    time.sleep(0.1)
  assert not cells_lib.programs_of_cells(folder)


@needs_dask
@linux
def test_a_cell_whose_worker_is_killed_is_tried_again(program, in_turn):
  folder = program.folder / "tried"
  process = program.start(f"--workdir={folder.name}", "--workers=2")
  while not (found := cells_lib.programs_of_cells(folder)):
    assert process.poll() is None
    time.sleep(0.02)
  (name, (_, worker)), *_ = found.items()
  os.kill(worker, signal.SIGKILL)
  done = program.end(process)
  assert done.code == 0, done.err
  assert f"{name} is tried again (its worker was killed; " in done.err
  assert cells_lib.left(folder) == cells_lib.left(in_turn)


@needs_dask
def test_a_cell_that_fails_is_shown(program):
  """Wrong input is not tried again, and the other cells go on."""
  folder = program.folder / "failed"
  cell = folder / "cells" / "width5"
  cell.mkdir(parents=True)
  (cell / "metrics.jsonl").mkdir()  # Nothing can be written to it.
  done = program.run(f"--workdir={folder.name}", "--workers=2")
  assert done.code == 2
  assert "width5 failed (exit code 2; failed/cells/width5/cell.log)" in done.err
  assert "  error: workdir " in done.err
  assert done.err.endswith(
    "1 of 3 cells failed; the same command tries them again\n"
  )
  assert len(re.findall(r"\[\d/3\] width\d", done.out)) == 2


@linux
def test_workers_have_their_cores():
  cores = sorted(os.sched_getaffinity(0))
  places = workers.places_of(len(cores))
  assert sorted(int(p["CORES"]) for p in places) == cores
  (place,) = workers.places_of(1)
  assert place == {"CORES": ",".join(map(str, cores))}
  assert len(workers.places_of(3 * len(cores))) == 3 * len(cores)


def _pretend_dask(monkeypatch, environ):
  """As if this process were a worker, whose nanny sets some variables."""
  worker = types.SimpleNamespace(name="0")
  distributed = types.SimpleNamespace(get_worker=lambda: worker)
  monkeypatch.setitem(sys.modules, "distributed", distributed)
  config = types.SimpleNamespace(get=lambda name: environ)
  dask = types.SimpleNamespace(config=config)
  monkeypatch.setitem(sys.modules, "dask", dask)


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path, monkeypatch):
  _pretend_dask(monkeypatch, {})
  monkeypatch.setattr(leash, "PATIENCE", 0.0)
  folder, probe = tmp_path / "cell", tmp_path / "probe"
  command = [sys.executable, str(tmp_path / "leash.py"), "study.py"]
  for missing in (probe, pathlib.Path(command[1])):
    found = leash.do(command, str(folder), str(probe), [])
    assert found == (None, str(missing))
    missing.touch()
  assert not folder.exists()
  assert leash.do(command, str(folder), str(probe), []) == (0, "")


def test_a_cell_does_not_get_dasks_number_of_threads(tmp_path, monkeypatch):
  """Its bits may depend on it; one that was asked for is kept."""
  _pretend_dask(monkeypatch, {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1})
  monkeypatch.setenv("OMP_NUM_THREADS", "1")
  monkeypatch.setenv("MKL_NUM_THREADS", "2")
  program = tmp_path / "leash.py"
  program.write_text(
    "import os\nprint([os.getenv(f'{x}_NUM_THREADS') for x in ('OMP', 'MKL')])"
  )
  command = [sys.executable, str(program), "study.py"]
  found = leash.do(command, str(tmp_path / "cell"), str(tmp_path), [])
  assert found == (0, "[None, '2']")


def test_no_dask_is_one_line(monkeypatch):
  monkeypatch.setitem(sys.modules, "distributed", None)
  line = "workers need Dask, which is not installed"
  with pytest.raises(workers.ClusterError, match=line):
    workers.require_dask()


@pytest.mark.parametrize(
  ("flags", "line"),
  [
    (["--workers=2", "--cell=a"], "--workers, --scheduler, --cell: only one"),
    (["--cell_seconds=1"], "--cell_seconds=1.0: is read only with --cell"),
    (["--workers=0"], "--workers=0"),
    (["--scheduler="], "--scheduler='': must be an address"),
  ],
)
def test_wrong_flags(flags, line, capsys):
  with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
    study_lib.parse_flags(["study.py", *flags])
  assert stop.value.code == 2
  assert line in capsys.readouterr().err
