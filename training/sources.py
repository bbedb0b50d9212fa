"""Where training examples come from, if they change while a run trains."""

from typing import Any, Protocol

import jax

from configs import kinds
from data import dataset as dataset_lib
from training import rollouts
from training.setup import Setup

PyTree = Any


class Source(Protocol):
  """Makes the training examples of one run anew, with its weights.

  Attributes:
    period: training steps between two refreshes.
  """

  period: int

  def refresh(
    self, weights: PyTree, step: int, key: jax.Array
  ) -> dataset_lib.Dataset:
    """Returns the data set to train on from a step on.

    Args:
      weights: of the run, 'params' and 'model_state'.
      step: training steps taken.
      key: of the run.
    """

  def evaluate(self, weights: PyTree) -> dict[str, float]:
    """Returns what evaluating the weights needs no split of examples for."""

  def metrics(self) -> dict[str, float]:
    """Returns what was seen since the last reset."""

  def reset_metrics(self) -> None: ...


def create(setup: Setup) -> dict[int, Source]:
  """Returns the source of each run whose examples change, by its index."""
  if setup.config.dataset not in kinds.GAMES:
    return {}
  policy = rollouts.create_policy(setup)
  return {i: rollouts.Player(setup, i, policy) for i in range(len(setup.runs))}
