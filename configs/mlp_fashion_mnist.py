"""LeNet-300-100 on Fashion-MNIST, as `mlp_mnist`: not in the paper.

python main.py --config=configs/mlp_fashion_mnist.py
"""

import ml_collections

from configs import mlp_mnist


def get_config() -> ml_collections.ConfigDict:
  config = mlp_mnist.get_config()
  config.dataset = "fashion_mnist"
  return config
