"""Every config file, and what --help says of it."""

import importlib

import pytest

from configs import base
from configs import fields
from configs import reading
from tests import entrance

CONFIG_FILES = sorted(
  path
  for path in entrance.CONFIGS.glob("*.py")
  if path.stem != "base" and "def get_config" in path.read_text()
)


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.stem)
def test_config_sets_only_what_is_read(path):
  config = importlib.import_module(f"configs.{path.stem}").get_config()
  base.check(config)
  for name, field in fields.FIELDS.items():
    if config[name] != field.default:
      assert reading.is_read(name, config), name


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda path: path.stem)
def test_help_shows_the_fields(start, tmp_path, path):
  done = start(f"--config={path}", "--config.seed=7", "--help", cwd=tmp_path)
  assert (done.code, done.err) == (0, "")
  config = importlib.import_module(f"configs.{path.stem}").get_config()
  for name in fields.FIELDS:
    value = 7 if name == "seed" else config[name]
    assert f"\n  --config.{name}={value!r}\n" in done.out
