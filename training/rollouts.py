"""Proximal policy optimization (Schulman et al., 2017), as a `Trainer`.

A rollout is played with the weights that there are, becomes the training set
for `epochs_per_rollout` epochs, and is followed by the next. So steps, SAM,
masks, sweeps, records and checkpoints are those of any other run. Shin et al.
(UAI 2025) train so on Breakout; what they leave open is as in the example of
Flax. A run that is resumed begins new games.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import breakout
from data import dataset as dataset_lib
from data import pipeline
from training import games as games_lib
from training import metrics as metrics_lib
from training import trainer
from training.experiment import Experiment

PyTree = Any
# No step has this number, so what is folded into its key is no step's key.
_PLAYS = 2**32 - 2


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
  """Plays the rollouts of a run.

  Attributes:
    scores: of the games that ended since they were last taken from here.
  """

  def __init__(
    self, exp: Experiment, policy: games_lib.Policy, first_step: int
  ):
    """Begins games.

    Args:
      exp: of one run.
      policy: of its model.
      first_step: training steps taken; those who resume begin other games.
    """
    self._exp = exp
    self._policy = policy
    (self._run,) = exp.runs
    self._games = games_lib.Games(
      self._run.num_agents,
      sticky_actions=self._run.sticky_actions,
      seed=(self._run.seed, games_lib.TRAINING, first_step),
    )
    self._totals = np.zeros(self._run.num_agents)
    self.scores: list[float] = []

  def rollout(
    self, weights: PyTree, step: int, key: jax.Array
  ) -> dataset_lib.ArraySplit:
    """Plays on and returns what was seen and done, as training examples.

    Args:
      weights: with which to play.
      step: training steps taken.
      key: of the run.
    """
    c = self._run
    shape = c.actor_steps, c.num_agents
    frames = np.empty((*shape, *breakout.FRAMES), np.uint8)
    rewards, over = np.empty(shape), np.empty(shape, bool)
    said = []
    key = jax.random.fold_in(jax.random.fold_in(key, _PLAYS), step)
    plays = games_lib.play(self._games, self._policy, weights, key)
    for t, (seen, answer, outcome) in zip(
      range(c.actor_steps), plays, strict=False
    ):
      frames[t] = seen
      said.append(answer)
      # In Breakout as in other games, what counts is that there is a reward.
      rewards[t], over[t] = np.sign(outcome.rewards), outcome.over
      self._totals += outcome.rewards
      self.scores += self._totals[outcome.over].tolist()
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
    clip_range = c.clip_range * float(self._exp.schedule(jnp.int32(step)))
    columns = {
      "action": actions,
      "log_prob": log_probs,
      "advantage": (found - found.mean()) / (found.std() + 1e-8),
      "return": found + values,
      "clip_range": np.full(shape, clip_range),
    }
    return breakout.split(
      frames.reshape(-1, *breakout.FRAMES),
      **{name: x.reshape(-1) for name, x in columns.items()},
    )


class Trainer(trainer.Trainer):
  """Trains on rollouts that its runs play."""

  def __init__(self, exp: Experiment, weights: dict[str, PyTree] | None = None):
    super().__init__(exp, weights)
    self._policy = games_lib.create_policy(exp)
    self._players: dict[int, Player] = {}

  def call(self, limit: int) -> bool:
    """Takes steps, at most `limit`, of one rollout; plays the next if due."""
    period = self.exp.config.epochs_per_rollout * self.exp.steps_per_epoch
    if self.step % period == 0 or not self._players:
      for run, part in enumerate(self._parts):
        if run not in self.given_up:
          self._play(run, part)
    return super().call(min(limit, period - self.step % period))

  def _play(self, run: int, part: trainer.Part) -> None:
    """Makes a new rollout the training set of a part, which has one run."""
    if run not in self._players:
      self._players[run] = Player(part.exp, self._policy, self.step)
    rollout = self._players[run].rollout(
      part.state.weights, self.step, part.state.rng
    )
    part.resident = jax.device_put(
      pipeline.resident_arrays([rollout]), part.exp.replicated
    )

  def train_metrics(self) -> list[metrics_lib.Computed]:
    """Returns the metrics, with the mean score of the games that ended."""
    computed = super().train_metrics()
    for run, player in self._players.items():
      if player.scores:
        computed[run][0]["score"] = float(np.mean(player.scores))
    return computed

  def reset_metrics(self) -> None:
    super().reset_metrics()
    for player in self._players.values():
      player.scores.clear()


def with_rollouts(exp: Experiment, weights: list[PyTree]) -> Experiment:
  """Returns the experiment on what each run plays with its weights."""
  policy = games_lib.create_policy(exp)
  datasets = []
  for i, own in enumerate(weights):
    alone = dataclasses.replace(exp, runs=exp.runs[i : i + 1])
    rollout = Player(alone, policy, 0).rollout(own, 0, jax.random.key(0))
    datasets.append(
      dataclasses.replace(exp.datasets[i], splits={"train": rollout})
    )
  return dataclasses.replace(exp, datasets=tuple(datasets))
