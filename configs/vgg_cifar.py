"""VGG-11 on CIFAR-10: Shin et al. (UAI 2025), Appendix E, Figure 19.

Linearised: `--config.lazy_alpha` 1, 10, 100, 1000 (0: not centred). rho is
.001, .01, .02.

  python main.py --config=configs/vgg_cifar.py

Needs a GPU; not run here on the full data. Learning rate and length are not
stated in the paper. Its best test accuracy at alpha 1 is 88.48 % for SAM and
88.33 % for SGD, at alpha 1000 40.71 % and 53.11 % (read off its Figure 19).
Tune the learning rate for large alpha: clipping does not bound such gradients,
and on 32x32 photographs even 1e-4 was too large at 64 filters.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "cifar10"
  config.augment = True
  config.model = "vgg11"
  config.num_filters = 64
  config.loss = "squared_error"
  config.lazy_alpha = 0.0
  config.optimizer = "sam"
  config.rho = 0.01
  config.learning_rate = 0.05  # not stated in the paper
  # Without it, the squared error of the initial weights diverges on 32x32
  # photographs even at 0.001.
  config.gradient_clip = 1.0
  config.lr_scheduler = "step"
  config.momentum = 0.9
  # It would pull a centred model away from its initial weights.
  config.weight_decay = 0.0
  config.batch_size = 128
  config.num_epochs = 200
  return config
