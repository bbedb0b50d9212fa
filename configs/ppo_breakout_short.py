"""PPO on Breakout in 20 minutes: `ppo_breakout.py` with 300 rollouts.

A pass over each rollout, and a larger learning rate: chosen, of one and three
passes, by the scores of Adam after 40 to 90 rollouts. rho is the smallest of
the paper's grid; at 0.05 SAM scored 0.6 after 50 rollouts, below Adam's 1.7.

  python main.py --config=configs/ppo_breakout_short.py

Time: 23 minutes (Adam: 22), both at the same time, on 2 CPU cores that other
programs used too; at the speed that `benchmarks.ppo` measures, 10 (Adam: 8)
alone. Expect a final score of
2.34 +- 0.28 for SAM and 3.41 +- 0.36 for Adam (standard errors over 32 games,
seed 0; rho is not tuned). A random agent has 1.08 +- 0.08
(200 games, `python -m benchmarks.ppo`).
"""

import ml_collections

from configs import ppo_breakout


def get_config() -> ml_collections.ConfigDict:
  config = ppo_breakout.get_config()
  config.num_filters = 16
  config.rho = 0.01
  config.learning_rate = 1e-3
  config.epochs_per_rollout = 1
  config.num_epochs = 300
  config.eval_every_epochs = 30
  config.eval_games = 32
  return config
