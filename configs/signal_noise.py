"""Signal and noise patches: Chen et al. (2023), Section 5, Figure 2.

A corner of the figure's map, where gradient descent memorizes the noise and SAM
learns the signal. `studies/benign_overfitting.py` draws the map.

  python main.py --config=configs/signal_noise.py

Time: at most 15 s on 2 CPU cores, which other programs used too. Expect 87.7 %
final test accuracy for SAM and 75.5 % for SGD (seed 0).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "signal_noise"
  config.input_dim = 5000  # the figure's: 1,000 to 20,000
  config.signal_norm = 5.0  # the figure's: 0 to 10
  config.num_train = 20
  config.num_patches = 2
  config.noise_scale = 1.0
  config.model = "two_layer_conv"
  config.num_filters = 10
  # With the paper's factor, these steps do not fit the training set.
  config.averaged_over = "patches"
  config.filter_initialization = "uniform"
  config.loss = "logistic"
  config.optimizer = "sam"
  config.rho = 0.03
  config.learning_rate = 0.01
  config.lr_scheduler = "constant"
  config.momentum = 0.0
  config.batch_size = 20
  config.num_epochs = 100
  config.devices_per_run = 1  # One perturbation for all examples.
  config.log_every_steps = 10
  config.eval_every_epochs = 10
  return config
