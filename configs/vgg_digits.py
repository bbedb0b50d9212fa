"""VGG-11 on the 8x8 digits inside scikit-learn: lazy training, offline.

Not in the paper; its Appendix E in small.

  python main.py --config=configs/vgg_digits.py
  python main.py --config=configs/vgg_digits.py --config.lazy_alpha=1000

Time: at most 45 s (SGD: 26 s) on 2 CPU cores, which other programs used too.
Expect a final test accuracy of 96.1 % for SAM and 96.7 % for SGD, and with
lazy_alpha=1000 of 36.7 % for SAM and 40.3 % for SGD (seed 0).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "digits"
  config.validation_fraction = 0.1985  # 285 images; leaves 1,152 = 9 batches
  config.model = "vgg11"
  config.num_filters = 8
  config.loss = "squared_error"
  config.lazy_alpha = 0.0
  config.optimizer = "sam"
  config.rho = 0.001
  config.learning_rate = 0.1
  config.lr_scheduler = "step"
  config.batch_size = 128
  config.num_epochs = 100
  config.log_every_steps = 45
  config.eval_every_epochs = 10
  return config
