"""Vision transformer on the 8x8 digits inside scikit-learn, offline.

Not in the paper; its CIFAR-10 workload (Figure 5e) in small, with patches of
2x2 pixels. Without clipping the loss stays where it starts at this learning
rate, and learns slowly at a tenth of it.

  python main.py --config=configs/vit_digits.py

Time: 53 s (SGD: 38 s) on 2 CPU cores, which other programs used too. Expect a
final test accuracy of 91.4 % for SAM and 94.4 % for SGD (seed 0; rho is not
tuned).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "digits"
  config.validation_fraction = 0.1985  # 285 images; leaves 1,152 = 9 batches
  config.model = "vit"
  config.hidden_size = 32
  config.patch_size = 2
  config.optimizer = "sam"
  config.rho = 0.05
  config.learning_rate = 0.1
  config.lr_scheduler = "cosine"
  config.weight_decay = 1e-4
  config.gradient_clip = 1.0
  config.batch_size = 128
  config.num_epochs = 60
  config.log_every_steps = 45
  config.eval_every_epochs = 10
  return config
