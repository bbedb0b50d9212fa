"""The installed library: what is in it, and its page run from elsewhere."""

from importlib import metadata
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
OFFLINE = ("--no-index", "--no-deps")


def _run(*command, **kwargs) -> str:
  done = subprocess.run(command, capture_output=True, text=True, **kwargs)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """Built of a copy, since a build leaves folders behind."""
  folder = tmp_path_factory.mktemp("wheel")
  not_source = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "*.png", "build", "runs"
  )
  shutil.copytree(ROOT, folder / "source", ignore=not_source)
  build = ("wheel", *OFFLINE, "--no-build-isolation", f"--wheel-dir={folder}")
  _run(*PIP, *build, str(folder / "source"))
  (path,) = folder.glob("*.whl")
  return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  folder = tmp_path_factory.mktemp("installed")
  _run(*PIP, "install", *OFFLINE, f"--target={folder}", str(wheel))
  return folder


def test_what_the_wheel_holds(wheel):
  expected = {"sam_overparam/__init__.py"} | {
    f"sam_overparam/{path.relative_to(ROOT)}"
    for name in ("sam", "sharpness")
    for path in ROOT.glob(f"{name}/*.py")
  }
  with zipfile.ZipFile(wheel) as file:
    names = {n for n in file.namelist() if ".dist-info/" not in n}
  assert names == expected


def test_what_the_wheel_says(installed):
  (distribution,) = metadata.distributions(path=[str(installed)])
  needs = {re.match(r"\w+", need)[0] for need in distribution.requires}
  assert needs == {"jax", "numpy", "optax"}
  about = distribution.metadata
  assert about["Name"] == "sam-overparam"
  assert about["License-Expression"] == "Apache-2.0"
  assert about.get_payload() == (ROOT / "docs/library.md").read_text()


def test_the_page(installed, tmp_path):
  """Its own assertions compare with dense linear algebra."""
  page = (ROOT / "docs/library.md").read_text()
  blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  assert sum(block.count("assert ") for block in blocks) >= 8
  last = "import sam_overparam; print(sam_overparam.__file__)\n"
  (tmp_path / "page.py").write_text("\n".join([*blocks, last]))
  out = _run(
    sys.executable,
    "page.py",
    cwd=tmp_path,
    env={"PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu"},
  )
  lines = out.splitlines()
  assert re.fullmatch(r"loss 0\.\d+, perturbed 0\.\d+", lines[0])
  assert re.fullmatch(r"\d\.\d+ \+- \de-\d+", lines[1])
  assert lines[-1] == str(installed / "sam_overparam" / "__init__.py")
