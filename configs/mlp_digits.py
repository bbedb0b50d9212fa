"""MLP on the 8x8 digits inside scikit-learn: the offline default.

Not in the paper; the smallest workload on which its Section 3 can be seen.

  python main.py --config=configs/mlp_digits.py

Time: 10 s on 2 CPU cores. Expect 97.5 % final test accuracy (seed 0).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "digits"
  config.validation_fraction = 0.1985  # 285 images; leaves 1,152 = 9 batches
  config.model = "mlp"
  config.num_neurons = (300, 100)
  config.optimizer = "sam"
  config.rho = 0.2  # of .05, .1, .2 the lowest validation loss, seed 0
  config.learning_rate = 0.1
  config.lr_scheduler = "step"
  config.weight_decay = 1e-4
  config.batch_size = 128
  config.num_epochs = 100
  config.log_every_steps = 45
  config.eval_every_epochs = 10
  return config
