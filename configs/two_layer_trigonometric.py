"""First layer of a wide network: Shin et al. (UAI 2025), Appendix I, Figure 22.

Widths: `--config.num_neurons="(100,)"`, (500,), (1000,), (5000,), (10000,),
(50000,). The paper tunes learning rate (1e-2 to 1e-7) and rho (1e-1 to 1e-5).

  python main.py --config=configs/two_layer_trigonometric.py

Time: TIME
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "trigonometric"
  config.model = "two_layer"
  config.num_neurons = (1000,)
  config.initialization = "lazy"
  config.trained_layers = "first"
  config.loss = "squared_error"
  config.optimizer = "sam"
  config.rho = 0.01
  config.learning_rate = 1e-3
  config.lr_scheduler = "step_half"
  config.momentum = 0.0
  config.batch_size = 50
  config.num_epochs = 800
  config.eval_every_epochs = 20
  return config
