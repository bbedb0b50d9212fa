"""What is saved comes back; what is damaged is noticed."""

import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from run_folder import checkpoints
from run_folder import scoring
from run_folder import sums
from tests import helpers


def _replicated():
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def _items(seed: int = 0, size: int = 30):
  rng = np.random.default_rng(seed)
  items = {
    "weights": {
      "params": {"Dense_0": {"kernel": rng.normal(size=(size, size))}},
      "model_state": {},
    },
    "training": {"step": np.int32(seed), "opt_state": (rng.normal(size=3), ())},
    "mask": {"Dense_0": {"kernel": rng.random((size, size)) < 0.5}},
  }
  return jax.device_put(jax.tree.map(jnp.asarray, items), _replicated())


def _save(workdir, scores):
  """Saves the steps 1, 2, ... with these scores."""
  saved = checkpoints.Checkpoints(workdir)
  for step, score in enumerate(scores, 1):
    saved.save(step, jax.device_get(_items(step)), score)
  saved.close()


def _restore(workdir):
  saved = checkpoints.Checkpoints(workdir)
  restored = saved.restore_newest(_items())
  saved.close()
  return restored


def _files(path: pathlib.Path) -> dict[str, bytes]:
  return {
    str(p.relative_to(path)): p.read_bytes()
    for p in path.rglob("*")
    if p.is_file()
  }


def test_restores_bits_and_shardings(tmp_path):
  _save(tmp_path, [None])
  step, items = _restore(tmp_path)
  assert step == 1
  helpers.assert_same_bits(items, _items(1))
  for leaf in jax.tree.leaves(items):
    assert leaf.sharding == _replicated()
    assert len(leaf.addressable_shards) == 2


def test_no_checkpoint(tmp_path):
  assert _restore(tmp_path) is None
  with pytest.raises(checkpoints.CheckpointError, match="with a checkpoint"):
    checkpoints.restore(tmp_path, "latest", {"weights": {}})


# --- which are kept ----------------------------------------------------------


@pytest.mark.parametrize(
  ("metric", "values", "best"),
  [
    ("test_accuracy", [0.5, 0.8, None, 0.8, 0.7, 0.1, None], 4),
    ("test_loss", [3.0, 2.0, 1.5, 1.5, None, 2.0, 1.75], 4),
    ("validation_loss", [0.25, 0.5, 0.5, 0.75, 1.0], 1),
    ("test_accuracy", [0.0, 0.0, 0.0, 0.0], 4),
    ("test_loss", [None, None, None, 7.0, None, None, None], 4),
  ],
)
def test_keeps_two_newest_and_best(tmp_path, metric, values, best):
  """The best is the one that result.json calls so; of equal ones the last."""
  split = metric.split("_")[0]
  lines = [
    {"step": step, metric: value} | {"test_loss": 1.0, metric: value}
    for step, value in enumerate(values, 1)
    if value is not None
  ]
  assert scoring.score_name([f"{split}_x", *lines[0]]) == metric
  assert scoring.summarize(lines)["best"]["step"] == best
  _save(
    tmp_path,
    [None if v is None else scoring.score(metric, v) for v in values],
  )
  newest = len(values)
  kept = {best, newest - 1, newest}
  assert {
    int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")
  } == kept
  for which, step in [("best", best), ("latest", newest), (str(best), best)]:
    like = {"weights": _items()["weights"]}
    found, items = checkpoints.restore(tmp_path, which, like)
    assert found == step
    helpers.assert_same_bits(items["weights"], _items(step)["weights"])


def test_keeps_best_over_restarts(tmp_path):
  for step, score in [(1, 2.0), (2, 3.0), (3, 3.0), (4, None), (5, 1.0)]:
    saved = checkpoints.Checkpoints(tmp_path)
    saved.save(step, jax.device_get(_items(step)), score)
    saved.close()
  assert {p.name for p in (tmp_path / "checkpoints").glob("[0-9]*")} == {
    "3",
    "4",
    "5",
  }


@pytest.mark.parametrize(
  "which", ["3", "best", "-1", "x", "1.0", "9" * 5000], ids=lambda x: x[:9]
)
def test_names_the_checkpoints_there_are(tmp_path, which):
  _save(tmp_path, [None, None])
  with pytest.raises(
    checkpoints.CheckpointError, match=rf"'{which}'; there are \[1, 2\]"
  ):
    checkpoints.restore(tmp_path, which, {"weights": _items()["weights"]})


# --- damage ------------------------------------------------------------------


def _flip(path: pathlib.Path) -> None:
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _truncate(path: pathlib.Path) -> None:
  os.truncate(path, path.stat().st_size // 2)


def _empty(path: pathlib.Path) -> None:
  os.truncate(path, 0)


@pytest.mark.parametrize("damage", [_flip, _truncate, _empty, os.unlink])
def test_falls_back_from_any_damage(tmp_path, damage, capfd):
  _save(tmp_path, [1.0, 2.0])
  newest = tmp_path / "checkpoints" / "2"
  aside = tmp_path / "checkpoints" / "2.damaged"
  names = sorted(_files(newest))
  if damage is os.unlink:  # That would be one which is not finished.
    names.remove(sums.SUMS)
  # Every kind of file; of Orbax's data files, one is enough.
  data = [n for n in names if "/d/" in n]
  for name in [*(n for n in names if n not in data), data[0], data[-1]]:
    whole = (newest / name).read_bytes()
    damage(newest / name)
    if not (newest / name).exists() or (newest / name).read_bytes() != whole:
      step, items = _restore(tmp_path)
      assert step == 1, name
      helpers.assert_same_bits(items, _items(1))
      lines = capfd.readouterr().err.splitlines()
      assert len(lines) == 1
      assert lines[0].startswith("warning: checkpoint 2 is damaged (")
      assert lines[0].endswith(") and is renamed to 2.damaged")
      assert not newest.exists()
      aside.rename(newest)
    (newest / name).write_bytes(whole)
  assert _restore(tmp_path)[0] == 2
  assert not capfd.readouterr().err


def test_all_damaged(tmp_path, capfd):
  _save(tmp_path, [1.0, 2.0])
  for file in (tmp_path / "checkpoints").rglob("manifest.ocdbt"):
    _flip(file)
  assert not checkpoints.has_whole(tmp_path)
  assert _restore(tmp_path) is None
  assert len(capfd.readouterr().err.splitlines()) == 2
  # What is saved anew takes the place, also if it is damaged again.
  _save(tmp_path, [1.0, 2.0])
  assert _restore(tmp_path)[0] == 2
  (tmp_path / "checkpoints" / "2" / sums.SUMS).unlink()
  assert _restore(tmp_path)[0] == 1


def test_reading_damaged_weights_changes_nothing(tmp_path):
  _save(tmp_path, [1.0, 2.0, 1.0])
  _flip(tmp_path / "checkpoints" / "2" / "metrics" / "metrics")
  before = _files(tmp_path)
  weights = _items()["weights"]
  assert checkpoints.restore(tmp_path, "latest", {"weights": weights})[0] == 3
  for which in ("best", "2"):
    with pytest.raises(
      checkpoints.CheckpointError, match=r"checkpoint 2 is damaged .*metrics"
    ):
      checkpoints.restore(tmp_path, which, {"weights": weights})
  assert _files(tmp_path) == before


def test_removes_unfinished_checkpoints(tmp_path, capfd):
  """A checkpoint that is being saved is not there yet for other processes."""
  _save(tmp_path, [1.0, 2.0])
  (tmp_path / "checkpoints" / "2" / sums.SUMS).unlink()
  (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp" / "weights").mkdir(
    parents=True
  )
  weights = _items()["weights"]
  assert checkpoints.restore(tmp_path, "latest", {"weights": weights})[0] == 1
  assert _restore(tmp_path)[0] == 1
  assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"1"}
  assert not capfd.readouterr().err


def test_a_renamed_checkpoint_is_not_that_of_its_name(tmp_path, capfd):
  """Training would go on from a wrong step."""
  _save(tmp_path, [1.0, 2.0])
  folder = tmp_path / "checkpoints"
  (folder / "2").rename(folder / "7")
  with pytest.raises(
    checkpoints.CheckpointError, match="checkpoint 7 is that of step 2"
  ):
    checkpoints.restore(tmp_path, "7", {"weights": _items()["weights"]})
  step, items = _restore(tmp_path)
  assert step == 1
  helpers.assert_same_bits(items, _items(1))
  (line,) = capfd.readouterr().err.splitlines()
  assert line.startswith("warning: checkpoint 7 is damaged (it is that of step")
  assert {p.name for p in folder.iterdir()} == {"1", "7.damaged"}


def test_of_misfits_the_newest_stays(tmp_path):
  _save(tmp_path, [1.0, 2.0, 3.0])
  folder = tmp_path / "checkpoints"
  steps = sorted(int(p.name) for p in folder.iterdir())
  for step in steps[1:]:
    (folder / str(step)).rename(folder / str(step + 5))
  assert _restore(tmp_path)[0] == steps[0]
  left = {p.name for p in folder.iterdir()}
  assert left == {str(steps[0]), f"{steps[-1] + 5}.damaged"}


@pytest.mark.parametrize("name", ["02", "٢", "2.damaged", "-2", "x", "²"])
def test_other_names_are_no_checkpoints(tmp_path, name):
  """Folders and files of such names are in nobody's way."""
  _save(tmp_path, [1.0, 2.0])
  folder = tmp_path / "checkpoints"
  (folder / "2").rename(folder / name)
  (folder / f"{name}0").write_text("a file")
  weights = {"weights": _items()["weights"]}
  assert checkpoints.restore(tmp_path, "latest", weights)[0] == 1
  assert _restore(tmp_path)[0] == 1


def test_at_most_one_damaged_checkpoint_stays(tmp_path):
  _save(tmp_path, [1.0, 2.0, 3.0, 4.0])
  folder = tmp_path / "checkpoints"
  (folder / "1.damaged").write_text("a file")
  for step in (3, 4):
    _flip(folder / str(step) / "weights" / "manifest.ocdbt")
  assert _restore(tmp_path) is None
  assert [p.name for p in folder.iterdir()] == ["4.damaged"]


def test_a_file_in_the_place_of_the_folder(tmp_path):
  (tmp_path / "checkpoints").write_text("a file")
  with pytest.raises(checkpoints.CheckpointError, match="cannot be used"):
    checkpoints.Checkpoints(tmp_path)
  with pytest.raises(checkpoints.CheckpointError, match="with a checkpoint"):
    checkpoints.restore(tmp_path, "latest", {"weights": {}})


def test_sums_are_those_of_sha256sum(tmp_path):
  _save(tmp_path, [1.0])
  subprocess.run(
    ["sha256sum", "--check", "--strict", sums.SUMS],
    cwd=tmp_path / "checkpoints" / "1",
    check=True,
    stdout=subprocess.DEVNULL,
  )


def test_other_items_are_an_error_and_stay(tmp_path):
  """Such as those of another version of the program."""
  _save(tmp_path, [1.0])
  before = _files(tmp_path)
  saved = checkpoints.Checkpoints(tmp_path)
  with pytest.raises(
    checkpoints.CheckpointError, match="checkpoint 1 does not fit this program"
  ):
    saved.restore_newest(_items(size=31))
  saved.close()
  with pytest.raises(
    checkpoints.CheckpointError, match="step 1 do not fit this model"
  ):
    checkpoints.restore(tmp_path, "1", {"weights": _items(size=31)["weights"]})
  assert _files(tmp_path) == before


def test_failed_save_is_an_error(tmp_path, monkeypatch):
  saved = checkpoints.Checkpoints(tmp_path)

  def full(path):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(sums, "write", full)
  saved.save(1, _items(), None)
  with pytest.raises(checkpoints.CheckpointError, match="No space left"):
    saved.save(2, _items(), None)
  saved.close()
