"""PPO on Breakout for 20 minutes: `ppo_breakout.py` with few, fast steps.

python main.py --config=configs/ppo_breakout_short.py
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
