"""PPO's transitions a second, over those of the games alone.

  python -m benchmarks.ppo [--out=FILE.json]

`configs/ppo_breakout_short.py`: eight games stepped with random actions; the
same with actions of the policy; whole training, in which every rollout is
learned from, with Adam and with SAM. Then the scores of a random agent. Repeats
alternate; medians are compared. Needs no TensorFlow.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Callable
import statistics
import time
from typing import Any

import jax
import numpy as np

from analysis import statistics as sam_statistics
from benchmarks import outcome
from configs import ppo_breakout_short
import data
from program import jax_setup
from training import games
from training import rollouts
from training import setup as setup_lib
from training import state as state_lib
from training import trainer as trainer_lib

RANDOM_GAMES = 200
Play = Callable[[], Any]


def setting(optimizer: str) -> setup_lib.Setup:
  config = ppo_breakout_short.get_config()
  config.optimizer = optimizer
  return setup_lib.create(config, data.load(config))


def begin(setup: setup_lib.Setup) -> games.Games:
  c = setup.config
  return games.Games(c.num_agents, sticky_actions=c.sticky_actions, seed=0)


def alone(setup: setup_lib.Setup) -> Play:
  """Returns what plays a rollout with random actions."""
  c, rng, played = setup.config, np.random.default_rng(0), begin(setup)

  def play() -> None:
    for actions in rng.integers(4, size=(c.actor_steps, c.num_agents)):
      played.step(actions)

  return play


def rollout(setup: setup_lib.Setup) -> Play:
  """Returns what plays a rollout with the policy."""
  (state,) = state_lib.create_states(setup)
  player = rollouts.Player(setup, 0, rollouts.create_policy(setup))
  return lambda: player.refresh(state.weights, 0, state.rng)


def training(setup: setup_lib.Setup) -> Play:
  """Returns what plays a rollout and learns from it."""
  trainer = trainer_lib.Trainer(setup, jax.devices()[:1])
  num_steps = setup.steps_per_epoch * setup.config.epochs_per_rollout

  def train() -> None:
    end = trainer.step + num_steps
    while trainer.step < end:
      trainer.call(end - trainer.step)
    jax.block_until_ready(trainer.state(0).params)

  return train


def random_scores(setup: setup_lib.Setup) -> np.ndarray:
  """Returns the scores of games that are played at random."""
  weights = state_lib.create_states(setup)[0].weights
  return games.scores(
    rollouts.create_policy(setup),
    jax.tree.map(np.zeros_like, jax.device_get(weights)),
    num_games=RANDOM_GAMES,
    sticky_actions=setup.config.sticky_actions,
    seed=0,
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", default="benchmarks/results/ppo.json")
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()

  jax_setup.fix_draws()

  adam = setting("adam")
  plays = {
    "games alone": alone(adam),
    "rollouts": rollout(adam),
    "training, Adam": training(adam),
    "training, SAM": training(setting("sam")),
  }
  seconds: dict[str, list[float]] = {name: [] for name in plays}
  for play in plays.values():
    play()  # Compiles.
  for _ in range(args.repeats):
    for name, play in plays.items():
      start = time.perf_counter()
      play()
      seconds[name].append(time.perf_counter() - start)
  print(f"{outcome.device()}, jax {jax.__version__}")
  print(f"{'':16} {'transitions/s':>14} {'of the games alone':>20}")
  size = adam.dataset.splits["train"].num_examples
  medians = {name: statistics.median(x) for name, x in seconds.items()}
  rows = [
    {
      "what": name,
      "transitions_per_second": size / median,
      "of_the_games_alone": medians["games alone"] / median,
      "all_seconds": seconds[name],
    }
    for name, median in medians.items()
  ]
  for row in rows:
    print(
      f"{row['what']:16} {row['transitions_per_second']:14,.0f}"
      f" {row['of_the_games_alone']:20.2f}"
    )
  found = sam_statistics.jackknife(
    lambda x: float(np.mean(x)), random_scores(adam), "mean score"
  )
  print(
    f"random agent: {found.value:.2f} (95 % interval {found.low:.2f} to"
    f" {found.high:.2f}, {found.n} games)"
  )
  record = {
    "repeats": args.repeats,
    "num_filters": adam.config.num_filters,
    "speed": rows,
    "random_agent": {
      "mean_score": found.value,
      "low": found.low,
      "high": found.high,
      "games": found.n,
    },
  }
  outcome.write(args.out, record)
  print(f"written to {args.out}")


if __name__ == "__main__":
  main()
