"""What PPO learns Breakout from: one rollout at a time, played by itself.

A rollout has `num_agents` x `actor_steps` transitions. Its inputs are the last
four frames; its targets are the columns named here. Before the first one is
played all are zero (see `training/rollouts.py`).
"""

import ml_collections
import numpy as np

from data import dataset

NUM_ACTIONS = 4  # Wait, fire, right, left.
# Of the last four pictures, grey and 84x84, blocks of 4x4 pixels, in which the
# four values of a pixel are together; see `models/actor_critic.py`.
FRAMES = (21, 21, 64)
# The action taken, the logarithm of its probability then, its advantage
# (standardized over the rollout), the return that the value is to predict, and
# how far the probability may move.
COLUMNS = ("action", "log_prob", "advantage", "return", "clip_range")


def split(inputs: np.ndarray, **targets: np.ndarray) -> dataset.ArraySplit:
  """Returns a rollout as training examples.

  Args:
    inputs: blocks of frames, uint8 [N, 21, 21, 64].
    **targets: the columns, [N] each.
  """
  columns = np.stack([targets[name] for name in COLUMNS], -1)
  return dataset.ArraySplit(inputs, columns.astype(np.float32))


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns a rollout that was not played."""
  size = config.num_agents * config.actor_steps
  empty = np.zeros(size, np.float32)
  return dataset.Dataset(
    name="breakout",
    splits={
      "train": split(
        np.zeros((size, *FRAMES), np.uint8), **dict.fromkeys(COLUMNS, empty)
      )
    },
    input_shape=FRAMES,
    num_outputs=NUM_ACTIONS + 1,
    num_classes=None,
    normalize=dataset.Scaled(255),
  )
