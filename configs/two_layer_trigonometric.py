"""First layer of a wide network: Shin et al. (UAI 2025), Appendix I, Figure 22.

Widths: `--config.num_neurons="(100,)"`, (500,), (1000,), (5000,), (10000,),
(50000,). The paper tunes learning rate (1e-2 to 1e-7) and rho (1e-1 to 1e-5).

  python main.py --config=configs/two_layer_trigonometric.py

Time: at most 17 s (SGD: 15 s) on 2 CPU cores, which other programs used too.
Expect a final test loss of 13.65 for SAM and 14.54 for SGD (seed 0). The
paper's test error at this width is 12.08 (read off its Figure 22). A wider
network needs a smaller learning rate: its curvature grows with its width.
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
  # Of .0001 to .1 the lowest loss on 100 held-out examples, seed 0.
  config.rho = 0.01
  config.learning_rate = 1e-3  # at 1e-2 this width does not learn
  config.lr_scheduler = "step_half"
  config.momentum = 0.0
  config.batch_size = 50
  config.num_epochs = 800
  config.eval_every_epochs = 20
  return config
