"""Matrix factorization: Shin et al. (UAI 2025), Section 6, Figure 6c.

The ranks of the paper are `--config.num_neurons="(4,)"` and (10,); 4 cannot fit
the matrix, which has rank 6.

  python main.py --config=configs/matrix_factorization.py

Time: at most 16 s (SGD: 12 s) on 2 CPU cores, which other programs used too.
Expect a final train loss of 4.0e-5 at rank 10, in a straight line on a log
scale, and of 0.40 at rank 4 (seed 0). The paper's are 0.0073 and 0.031 (read
off its Figure 6c); its matrix, batch size and rho are not stated.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "matrix_factorization"
  config.model = "two_layer"
  config.num_neurons = (10,)
  config.activation = "linear"
  config.use_bias = False
  config.loss = "squared_error"
  config.optimizer = "sam"
  config.perturbation = "unnormalized"  # as in the theorems of Section 6
  config.rho = 0.01  # not stated in the paper
  config.learning_rate = 5e-4
  config.lr_scheduler = "constant"
  config.momentum = 0.0
  config.batch_size = 10  # not stated in the paper
  config.num_epochs = 100
  config.eval_every_epochs = 5
  return config
