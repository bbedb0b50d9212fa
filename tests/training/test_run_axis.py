"""The axis of runs: stacked, taken apart, cut and joined."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import dataset as dataset_lib
from tests import helpers
from training import placement
from training import run_axis


def _tree(run):
  return {"w": jnp.full((2,), float(run)), "key": jax.random.key(run)}


def test_a_run_alone_has_no_axis():
  one = run_axis.stack([_tree(3)])
  assert one["w"].shape == (2,)
  assert run_axis.shape(1) == ()
  (back,) = run_axis.unstack(one, 1)
  np.testing.assert_array_equal(back["w"], [3, 3])
  assert run_axis.vmap(len, 1) is len


@pytest.mark.parametrize("num_runs", [2, 5])
def test_stacked_runs_come_back(num_runs):
  stacked = run_axis.stack([_tree(run) for run in range(num_runs)])
  assert stacked["w"].shape == (num_runs, 2)
  for run, back in enumerate(run_axis.unstack(stacked, num_runs)):
    np.testing.assert_array_equal(back["w"], [run, run])
    assert back["key"] == jax.random.key(run)
    taken = run_axis.take(stacked, run, num_runs)
    np.testing.assert_array_equal(taken["w"], back["w"])


@pytest.mark.parametrize("sizes", [(5,), (3, 2), (2, 1, 2), (1, 1, 1, 1, 1)])
def test_what_is_cut_is_joined_again(sizes):
  """A part of one run has no axis; the whole has one."""
  whole = {"w": np.arange(10.0).reshape(5, 2)}
  parts = run_axis.cut(whole, sizes)
  shapes = [(*run_axis.shape(size), 2) for size in sizes]
  assert [part["w"].shape for part in parts] == shapes
  devices = tuple(jax.devices()[:1])
  ends = np.cumsum([0, *sizes])
  places = [
    placement.Placement(tuple(range(a, b)), devices)
    for a, b in itertools.pairwise(ends.tolist())
  ]
  on_devices = [
    run_axis.put(part, place) for part, place in zip(parts, places, strict=True)
  ]
  joined = run_axis.join(on_devices, places)
  np.testing.assert_array_equal(joined["w"], whole["w"])


@pytest.mark.parametrize(
  ("num_runs", "num_devices", "rows"), [(5, 2, 3), (4, 2, 2), (2, 2, 1)]
)
def test_runs_are_spread_over_devices(num_runs, num_devices, rows):
  """Each device has as many: the last run stands for those that lack."""
  devices = tuple(jax.devices()[:num_devices])
  place = placement.Placement(tuple(range(num_runs)), devices, rows)
  assert (place.num_vmapped, place.num_devices) == (rows, 1)
  trees = [_tree(run) for run in range(num_runs)]
  placed = run_axis.place(trees, place)
  of_runs = (num_devices, *run_axis.shape(rows))
  assert placed["w"].shape == (*of_runs, 2)
  assert len(placed["w"].devices()) == num_devices
  last = placed["w"].reshape(-1, 2)[num_runs:]
  np.testing.assert_array_equal(last, np.full_like(last, num_runs - 1))
  for run in range(num_runs):
    taken = run_axis.take_placed(placed, run, place)
    np.testing.assert_array_equal(taken["w"], [run, run])
    assert taken["key"] == jax.random.key(run)
  whole = {"w": np.arange(2.0 * num_runs).reshape(num_runs, 2)}
  again = run_axis.put(whole, place)
  assert again["w"].sharding == placed["w"].sharding
  np.testing.assert_array_equal(run_axis.fetch(again, place)["w"], whole["w"])
  assert run_axis.abstract_run(again, place)["w"].shape == (2,)
  np.testing.assert_array_equal(
    run_axis.join([again], [place])["w"], whole["w"]
  )


def test_abstract_runs_have_the_shapes_of_real_ones():
  stacked = run_axis.stack([_tree(run) for run in range(3)])
  devices = tuple(jax.devices()[:1])
  one = run_axis.abstract_run(stacked, placement.Placement((0, 1, 2), devices))
  assert one["w"].shape == (2,)
  assert run_axis.abstract(one, 3)["w"].shape == (3, 2)
  assert run_axis.abstract(one, 1)["w"].shape == (2,)


def test_each_array_is_on_a_device_once():
  """Runs share inputs, and targets if these are the same; splits do not."""
  clean = helpers.toy_dataset()
  noisy = dataset_lib.with_noisy_labels(
    clean, lambda n, classes: np.arange(n, dtype=np.int32) % classes, "noise"
  )
  other = helpers.toy_dataset(seed=1)
  place = placement.Placement((0,), tuple(jax.devices()[:1]))
  residents = run_axis.Residents()
  of_clean, of_noisy, of_other = (
    residents.place([d], "train", place) for d in (clean, noisy, other)
  )
  assert of_clean["inputs"] is of_noisy["inputs"]
  assert of_clean["targets"] is not of_noisy["targets"]
  assert of_clean["inputs"] is not of_other["inputs"]
  tests = [residents.place([d], "test", place) for d in (clean, noisy)]
  assert tests[0]["targets"] is tests[1]["targets"]

  together = residents.place([noisy, other, clean], "train", place)
  assert together["first_row"].tolist() == [0, 64, 0]
  assert together["inputs"].shape == (128, 8, 8, 1)
  for dataset, targets in zip(
    (noisy, other, clean), together["targets"], strict=True
  ):
    np.testing.assert_array_equal(targets, dataset.splits["train"].targets)
