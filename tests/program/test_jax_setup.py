"""Options of JAX: what programs set, and imports do not."""

import ast
import os
import pathlib
import pkgutil
import subprocess
import sys

import jax
import pytest

from program import jax_setup
from tests import helpers
from training import setup as setup_lib

ROOT = pathlib.Path(__file__).parents[2]
# They draw nothing from JAX.
WITHOUT_DRAWS = {
  "report.py",
  "benchmarks/start_up.py",  # It starts programs.
  "benchmarks/torch_peer.py",
}
# The benchmark needs PyTorch, and absl's flags are not defined twice.
NOT_IMPORTED = {"benchmarks.torch_peer", "main"}


def test_imports_change_no_option():
  folders = {p.parent.name for p in ROOT.glob("[!.]*/*.py")} - {"tests"}
  modules = [p.stem for p in ROOT.glob("*.py")]
  for folder in folders:
    found = pkgutil.walk_packages([str(ROOT / folder)], f"{folder}.")
    modules += [folder, *(module.name for module in found)]
  modules = sorted(set(modules) - NOT_IMPORTED)
  assert {"sam.gradient", "studies.kit.work", "train"} <= set(modules)
  code = f"""
import importlib, jax
before = dict(jax.config.values)
for name in {modules}:
  importlib.import_module(name)
after = jax.config.values
print({{k: after[k] for k in after if after[k] != before.get(k)}})
"""
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "{}\n"


def test_a_damaged_program_in_the_cache_is_written_anew(tmp_path):
  code = """
from program import jax_setup
jax_setup.set_up(float64=False)
import jax
print(jax.jit(lambda x: x + 1)(1))
"""
  env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
  sizes = []
  for _ in range(3):
    done = subprocess.run(
      [sys.executable, "-c", code],
      cwd=ROOT,
      env=env,
      capture_output=True,
      text=True,
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
    (path,) = tmp_path.glob("jit__lambda*-cache")
    sizes.append(path.stat().st_size)
    path.write_bytes(path.read_bytes()[: sizes[0] // 2])
  assert sizes[0] == sizes[1] == sizes[2]


def test_every_program_fixes_its_draws():
  programs = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*ROOT.glob("*.py"), *ROOT.glob("benchmarks/*.py"))
    if '__name__ == "__main__"' in path.read_text()
  }
  assert programs.keys() > WITHOUT_DRAWS | {"main.py", "study.py"}
  for path in programs.keys() - WITHOUT_DRAWS:
    assert any(
      ast.unparse(node.func) in ("jax_setup.set_up", "jax_setup.fix_draws")
      for node in ast.walk(ast.parse(programs[path]))
      if isinstance(node, ast.Call)
    ), path


def test_nothing_is_trained_with_other_draws():
  c, dataset = helpers.config(num_neurons=(2,)), helpers.toy_dataset(128)
  jax.config.update("jax_threefry_partitionable", True)
  try:
    with pytest.raises(RuntimeError, match=r"call program\.jax_setup\.set_up"):
      setup_lib.create(c, dataset)
  finally:
    jax_setup.fix_draws()
  setup_lib.create(c, dataset)
