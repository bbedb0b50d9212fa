"""ResNet-18 on the 8x8 digits inside scikit-learn: offline convolutions.

Not in the paper; its CIFAR-10 workload (Section 3) in small.

  python main.py --config=configs/resnet_digits.py

Time: 38 s on 2 CPU cores, compilation included. Expect 98.9 % final test
accuracy (seed 0).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "digits"
  config.validation_fraction = 0.1985  # 285 images; leaves 1,152 = 9 batches
  config.augment = True
  config.model = "resnet18"
  config.num_filters = 8
  config.optimizer = "sam"
  config.rho = 0.1
  config.learning_rate = 0.1
  config.lr_scheduler = "step"
  config.weight_decay = 5e-4
  config.batch_size = 128
  config.num_epochs = 50
  config.log_every_steps = 45
  config.eval_every_epochs = 10
  return config
