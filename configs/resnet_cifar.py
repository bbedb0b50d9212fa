"""ResNet-18 on CIFAR-10: Shin et al. (UAI 2025), Section 3, Figure 1.

Widths: `--config.num_filters` 4, 8, 16, 32, 64, 128, 256. rho is tuned per
width over .001, .005, .01, .02, .05, .1, .2, .5, 1.

  python main.py --config=configs/resnet_cifar.py

Needs a GPU for its 78,000 steps; not run here on the full data. The paper's
best test accuracy at this width is 96.00 % for SAM and 95.03 % for SGD, over 3
seeds (read off its Figure 7).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "cifar10"
  config.augment = True
  config.model = "resnet18"
  config.num_filters = 64
  config.optimizer = "sam"
  config.rho = 0.2  # best of the paper's grid at this width
  config.learning_rate = 0.1
  config.lr_scheduler = "step"
  config.momentum = 0.9
  config.weight_decay = 5e-4
  config.batch_size = 128
  config.num_epochs = 200
  return config
