"""A product of two signs: Wen, Li and Ma (2023), Figures 1 to 11 and Table 2.

1-SAM, that is SAM with batch size 1, finds flat minima of a two-layer network
without biases, which generalize. In other networks flat minima may not:

  python main.py --config=configs/xor.py
  ... --config.use_bias=True                          # flat, but memorizes
  ... --config.normalization=sim_bn --config.use_bias=True
  ... --config.normalization=sim_ln --config.use_bias=True \\
      --config.first_layer_scale=0.01 --config.learning_rate=0.1
  ... --config.activation=softplus --config.use_bias=True
  ... --config.loss=logistic --config.label_smoothing=0.2
  ... --config.dataset=ball --config.input_dim=10
  ... --config.model=mlp --config.num_neurons="(100,100)" \\
      --config.bias_layers=first
  ... --config.optimizer=sgd --config.step_label_noise=0.5   # label-noise SGD
  ... --config.optimizer=sgd --config.batch_size=100 --config.weight_decay=0.05

Width and length are a laptop's. The paper's are 500 neurons and 100,000 to
600,000 epochs; studies/flatness_vs_generalization.py has every row of Table 2.

Time: at most 32 s on 2 CPU cores, which other programs used too. Expect a final
test accuracy of 100 % (seed 0), and of 82.3 % with biases, where the paper's
1-SAM generalizes and does not.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "xor"
  config.input_dim = 30
  config.num_train = 100
  config.model = "two_layer"
  config.num_neurons = (100,)
  config.use_bias = False
  config.loss = "squared_error"
  config.optimizer = "sam"
  config.rho = 0.05
  config.learning_rate = 0.01
  config.lr_scheduler = "constant"
  config.momentum = 0.0
  config.batch_size = 1
  config.devices_per_run = 1  # so many share one example
  config.num_epochs = 4000
  config.eval_every_epochs = 200
  config.log_every_steps = 20_000
  config.steps_per_call = 10_000
  return config
