"""Proximal policy optimization (Schulman et al., 2017), as a source of data.

A rollout is played with the weights that there are, becomes the training set
for `epochs_per_rollout` epochs, and is followed by the next. So steps, SAM,
masks, sweeps, records and checkpoints are those of any other run. Shin et al.
(UAI 2025) train so on Breakout; what they leave open is as in the example of
Flax. A run that is resumed begins new games.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import breakout
from data import dataset as dataset_lib
from training import games
from training.setup import Setup

PyTree = Any
# No step has this number, so what is folded into its key is no step's key.
_PLAYS = 2**32 - 2


def create_policy(setup: Setup) -> games.Policy:
  """Returns the policy of a model, whose actions are drawn."""

  @jax.jit
  def policy(weights, frames, key, step):
    outputs = setup.model.apply(
      {"params": weights["params"], **weights["model_state"]},
      setup.dataset.normalize(frames),
      train=False,
    ).astype(jnp.result_type(float))
    log_probs = jax.nn.log_softmax(outputs[:, :-1])
    key = jax.random.fold_in(key, step)
    actions = jax.random.categorical(key, log_probs)
    taken = jnp.take_along_axis(log_probs, actions[:, None], -1)[:, 0]
    return actions, taken, outputs[:, -1]

  return policy


def advantages(
  rewards_TxN: np.ndarray,
  over_TxN: np.ndarray,
  values_TxN: np.ndarray,
  last_values_N: np.ndarray,
  *,
  discount: float,
  gae_lambda: float,
) -> np.ndarray:
  """Returns generalized advantage estimates (Schulman et al., 2016), [T, N].

  The one-step advantage is reward + discount * next value - value, where the
  next value is 0 if the game is over; each is the sum of those from its step to
  the end of the game, or of the rollout, with weights that fall by
  discount * gae_lambda a step.

  Args:
    rewards_TxN: of T steps in N games.
    over_TxN: whether the game was over after the step.
    values_TxN: of what was seen before the step.
    last_values_N: of what is seen after the last step.
    discount: factor on a reward for each step that it is away.
    gae_lambda: 0: one-step advantages; 1: returns minus values.
  """
  next_values_TxN = np.concatenate([values_TxN[1:], last_values_N[None]])
  goes_on_TxN = 1.0 - over_TxN
  one_step_TxN = (
    rewards_TxN + discount * goes_on_TxN * next_values_TxN - values_TxN
  )
  sums_TxN = np.empty_like(one_step_TxN)
  sum_N = np.zeros_like(one_step_TxN[0])
  for t in reversed(range(len(sums_TxN))):
    decay_N = discount * gae_lambda * goes_on_TxN[t]
    sum_N = sums_TxN[t] = one_step_TxN[t] + decay_N * sum_N
  return sums_TxN


class Player:
  """Plays the rollouts of a run: a `sources.Source`."""

  def __init__(self, setup: Setup, index: int, policy: games.Policy):
    """Creates the player of a run, whose games begin with its first rollout."""
    self.period = setup.config.epochs_per_rollout * setup.steps_per_epoch
    self._run = setup.runs[index]
    self._dataset = setup.datasets[index]
    self._schedule = setup.schedule
    self._policy = policy
    self._games: games.Games | None = None
    self._totals = np.zeros(self._run.num_agents)
    self._scores: list[float] = []

  def refresh(
    self, weights: PyTree, step: int, key: jax.Array
  ) -> dataset_lib.Dataset:
    """Plays on and returns what was seen and done, as training examples."""
    c = self._run
    if self._games is None:
      # Those who resume begin other games.
      self._games = games.Games(
        c.num_agents,
        sticky_actions=c.sticky_actions,
        seed=(c.seed, games.TRAINING, step),
      )
    shape = c.actor_steps, c.num_agents
    frames = np.empty((*shape, *breakout.FRAMES), np.uint8)
    rewards, over = np.empty(shape), np.empty(shape, bool)
    said = []
    key = jax.random.fold_in(jax.random.fold_in(key, _PLAYS), step)
    plays = games.play(self._games, self._policy, weights, key)
    for t, (seen, answer, outcome) in zip(
      range(c.actor_steps), plays, strict=False
    ):
      frames[t] = seen
      said.append(answer)
      # In Breakout as in other games, what counts is that there is a reward.
      rewards[t], over[t] = np.sign(outcome.rewards), outcome.over
      self._totals += outcome.rewards
      self._scores += self._totals[outcome.over].tolist()
      self._totals[outcome.over] = 0
    actions, log_probs, values = (
      np.stack(x) for x in zip(*jax.device_get(said), strict=True)
    )
    last_values = self._policy(weights, self._games.frames, key, -1)[2]
    found = advantages(
      rewards,
      over,
      values,
      np.asarray(last_values),
      discount=c.discount,
      gae_lambda=c.gae_lambda,
    )
    clip_range = c.clip_range * float(self._schedule(jnp.int32(step)))
    columns = {
      "action": actions,
      "log_prob": log_probs,
      "advantage": (found - found.mean()) / (found.std() + 1e-8),
      "return": found + values,
      "clip_range": np.full(shape, clip_range),
    }
    rollout = breakout.split(
      frames.reshape(-1, *breakout.FRAMES),
      **{name: x.reshape(-1) for name, x in columns.items()},
    )
    return dataclasses.replace(
      self._dataset, splits={"train": rollout}, examples=object()
    )

  def evaluate(self, weights: PyTree) -> dict[str, float]:
    """Returns 'test_score' and its standard error, always of the same games."""
    c = self._run
    found = games.scores(
      self._policy,
      weights,
      num_games=c.eval_games,
      sticky_actions=c.sticky_actions,
      seed=c.seed,
    )
    stderr = np.std(found, ddof=1) / math.sqrt(len(found))
    return {
      "test_score": float(found.mean()),
      "test_score_stderr": float(stderr),
    }

  def metrics(self) -> dict[str, float]:
    """Returns the mean 'score' of the games that ended, if any did."""
    return {"score": float(np.mean(self._scores))} if self._scores else {}

  def reset_metrics(self) -> None:
    self._scores.clear()
