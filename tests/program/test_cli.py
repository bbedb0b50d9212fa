"""What a program says of a wrong command line."""

from absl.testing import flagsaver
import pytest

from program import cli
import study


def _error(capsys) -> str:
  line = capsys.readouterr().err
  assert line.startswith("error: ")
  assert line.count("\n") == 1
  return line


@pytest.mark.parametrize("value", ["", "/dev/null", "/dev/null/x", "x" * 300])
def test_what_can_be_no_folder(value, capsys):
  with pytest.raises(SystemExit) as stop:
    cli.check_folder("out", value)
  assert stop.value.code == 2
  line = _error(capsys)
  assert line.startswith("error: --out='")
  assert ": must be a folder" in line


def test_what_can_be_a_folder(tmp_path):
  for value in (None, ".", str(tmp_path), str(tmp_path / "new" / "folder")):
    cli.check_folder("out", value)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--workdir=/dev/null", "--data_dir="])
def test_folders_of_a_study(flag, capsys):
  """Also where nothing is to be written, as for an estimate."""
  with flagsaver.flagsaver(), pytest.raises(SystemExit):
    study.parse_flags(["study.py", "--study=x", "--estimate", flag])
  assert "must be a folder" in _error(capsys)


def test_a_long_line_is_cut_in_its_middle(capsys):
  with pytest.raises(SystemExit):
    cli.fail(f"--config={'a' * 10**5!r}: must be\na file")
  line = _error(capsys)
  assert line.startswith("error: --config='aaa")
  assert line.endswith("aaa': must be a file\n")
  assert len(line) < 700
