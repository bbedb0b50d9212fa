"""PPO on the Atari game Breakout: Shin et al. (UAI 2025), Section 3.

Widths: `--config.num_filters` 16, 32, 48, 64. rho is tuned per width over .01,
.02, .05, .1, .2; the best of the evaluations counts, which are 100 rollouts
apart. An epoch is a pass over a rollout of 8 x 128 transitions.

  python main.py --config=configs/ppo_breakout.py

Needs a GPU, or a day, for its 10 million transitions; not run here in full. The
paper's best score at this width is 808 for SAM and 686 for Adam, over 3 seeds
(read off its Figure 7).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "breakout"
  config.model = "actor_critic"
  config.num_filters = 64
  config.loss = "ppo"
  config.optimizer = "sam"
  config.base_optimizer = "adam"
  config.rho = 0.05  # the paper does not state its best
  config.learning_rate = 2.5e-4
  config.lr_scheduler = "linear"
  config.gradient_clip = 0.5
  config.batch_size = 256
  config.num_epochs = 29_298  # 3 passes over each of 9,766 rollouts
  config.log_every_steps = 120
  config.eval_every_epochs = 300
  return config
