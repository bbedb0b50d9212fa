"""What is due after which step, as a table."""

import pytest

from tests import helpers
from training import cadence as cadence_lib
from training import setup as setup_lib

PERIODS = {"log": 4, "evaluate": 10, "save": 0, "snapshot": 0, "measure": 0}


@pytest.mark.parametrize(
  ("step", "due"),
  [
    (1, set()),
    (4, {"log"}),
    (8, {"log"}),
    (10, {"evaluate"}),
    (20, {"log", "evaluate"}),
    # At the end all but what was not asked for.
    (23, {"log", "evaluate", "save"}),
  ],
)
def test_due(step, due):
  cadence = cadence_lib.Cadence(num_steps=23, periods=PERIODS)
  assert cadence.due(step) == due


def test_a_checkpoint_follows_every_evaluation_if_asked():
  cadence = cadence_lib.Cadence(23, PERIODS, save_at_evals=True)
  assert cadence.due(10) == {"evaluate", "save"}
  assert cadence.due(4) == {"log"}


@pytest.mark.parametrize("action", ["snapshot", "measure"])
def test_what_is_asked_for_is_also_due_at_the_end(action):
  cadence = cadence_lib.Cadence(23, PERIODS | {action: 7})
  due = [step for step in range(1, 24) if action in cadence.due(step)]
  assert due == [7, 14, 21, 23]


def test_stops_are_where_something_is_due_or_sam_begins_or_ends():
  cadence = cadence_lib.Cadence(23, PERIODS, turns=(0, 6))
  step, stops = 0, []
  while step < 23:
    step = cadence.next_stop(step)
    stops.append(step)
  assert stops == [4, 6, 8, 10, 12, 16, 20, 23]
  # Nothing is due between two stops, nor where SAM ends.
  due = [step for step in range(1, 24) if cadence.due(step)]
  assert due == [4, 8, 10, 12, 16, 20, 23]


def test_of_a_config():
  """64 images in batches of 16: 4 steps an epoch."""
  c = helpers.config(
    num_neurons=(4,),
    batch_size=16,
    num_epochs=5,
    eval_every_epochs=2,
    log_every_steps=3,
    checkpoint_every_steps=7,
    snapshot_every_epochs=1,
    sharpness_every_epochs=3,
    sam_begin=0.25,
    sam_end=0.75,
  )
  setup = setup_lib.create(c, helpers.toy_dataset())
  assert cadence_lib.create(setup) == cadence_lib.Cadence(
    num_steps=20,
    periods={
      "log": 3,
      "evaluate": 8,
      "save": 7,
      "snapshot": 4,
      "measure": 12,
    },
    turns=(5, 15),
    save_at_evals=True,
  )
