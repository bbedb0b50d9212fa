"""Breakout: its games, players, and scores (Bellemare et al., 2013).

As usual for Atari (Mnih et al., 2015): an action lasts four frames, of which
the last two are merged; a player sees the last four such pictures, 84x84 and
grey; a game begins with up to 30 idle frames and the fire button and is over
with its last life, or after half an hour.
"""

from collections.abc import Callable, Iterator
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from configs import errors
from models import actor_critic
from models import vit

PyTree = Any
# (weights, frames [N, 21, 21, 64], key, step) -> actions, logarithms of their
# probabilities, and values, [N].
Policy = Callable[[PyTree, Any, jax.Array, int], tuple[jax.Array, ...]]
# Seeds of games that are evaluated, and of those that are learned from.
EVALUATION, TRAINING = 0, 1


class Outcome(NamedTuple):
  """What a step leads to in every game; one that is over begins anew."""

  rewards: np.ndarray
  over: np.ndarray


class Games:
  """Games of Breakout that are played side by side.

  Attributes:
    frames: what is seen now, uint8 [N, 21, 21, 64]; see `data.breakout.FRAMES`.
  """

  def __init__(self, num_games: int, *, sticky_actions: float, seed: Any):
    """Begins the games.

    Args:
      num_games: N.
      sticky_actions: probability that a frame repeats the action before.
      seed: what NumPy's `SeedSequence` takes; each game gets one from it.

    Raises:
      UserError: the package ale-py is missing.
    """
    try:
      from ale_py import vector_env
    except ImportError as e:
      raise errors.UserError(
        f"config.dataset='breakout': needs the package ale-py ({e})"
      ) from e
    self._games = vector_env.AtariVectorEnv(
      "breakout",
      num_games,
      autoreset_mode="SameStep",
      repeat_action_probability=sticky_actions,
      reward_clipping=False,
    )
    seeds = np.random.SeedSequence(seed).generate_state(num_games)
    frames, _ = self._games.reset(seed=(seeds >> 1).astype(np.int64))
    self.frames = _in_blocks(frames)

  def step(self, actions: Any) -> Outcome:
    """Plays one action [N] in each game."""
    frames, rewards, over, cut_off, _ = self._games.step(
      np.asarray(actions, np.int32)
    )
    self.frames = _in_blocks(frames)
    return Outcome(rewards, over | cut_off)


def _in_blocks(frames_Nx4x84x84: np.ndarray) -> np.ndarray:
  return vit.patches(np.moveaxis(frames_Nx4x84x84, 1, -1), actor_critic.BLOCK)


def play(
  games: Games, policy: Policy, weights: PyTree, key: jax.Array
) -> Iterator[tuple[np.ndarray, tuple[jax.Array, ...], Outcome]]:
  """Yields, without end, what was seen, what the policy said, and the outcome.

  Args:
    games: N of them.
    policy: what plays.
    weights: of the policy.
    key: of all actions.
  """
  for step in itertools.count():
    frames = games.frames
    said = policy(weights, frames, key, step)
    yield frames, said, games.step(said[0])


def scores(
  policy: Policy,
  weights: PyTree,
  *,
  num_games: int,
  sticky_actions: float,
  seed: int,
) -> np.ndarray:
  """Returns the scores of games, [N], each played once from begin to end.

  Args:
    policy: what plays.
    weights: of the policy; all zero, it plays at random.
    num_games: N.
    sticky_actions: see `Games`.
    seed: of games and actions.
  """
  games = Games(
    num_games, sticky_actions=sticky_actions, seed=(seed, EVALUATION)
  )
  plays = play(games, policy, weights, jax.random.key(seed))
  totals, over = np.zeros(num_games), np.zeros(num_games, bool)
  while not over.all():
    _, _, outcome = next(plays)
    # What begins anew does not count.
    totals += np.where(over, 0, outcome.rewards)
    over |= outcome.over
  return totals
