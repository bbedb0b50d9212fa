"""Two functions of two coordinates: Wen, Li and Ma (2023, arXiv 2307.11007).

'xor': x is uniform on {-1, 1}^d, and its class is y = x1 x2. 'ball': x is
uniform in the ball of radius sqrt(d), and y = |x1| - |x2| is a real target. The
paper has 100 training examples, in 30 dimensions and in 10. It does not state
the size of its test set.
"""

import ml_collections
import numpy as np

from data import dataset

NUM_TEST = 10_000


def draw_signs(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
  """Returns points of the cube {-1, 1}^d, float32 [N, d]."""
  return 2 * rng.integers(0, 2, size).astype(np.float32) - 1


def draw_ball(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
  """Returns points of the ball of radius sqrt(d), float32 [N, d]."""
  num_examples, d = size
  points = rng.standard_normal(size)
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  radii = np.sqrt(d) * rng.random((num_examples, 1)) ** (1 / d)
  return (radii * points).astype(np.float32)


def classes(inputs_Nxd: np.ndarray) -> np.ndarray:
  """Returns 1 where x1 x2 = 1 and 0 where it is -1, int32 [N]."""
  return (inputs_Nxd[:, 0] == inputs_Nxd[:, 1]).astype(np.int32)


def gap(inputs_Nxd: np.ndarray) -> np.ndarray:
  """Returns |x1| - |x2|, [N, 1]."""
  return np.abs(inputs_Nxd[:, :1]) - np.abs(inputs_Nxd[:, 1:2])


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns `num_train` and 10,000 test examples, drawn independently."""
  is_xor = config.dataset == "xor"
  draw, function = (draw_signs, classes) if is_xor else (draw_ball, gap)
  rng = np.random.default_rng([dataset.data_seed(config), 0x0A0B])

  def split(num_examples: int) -> dataset.ArraySplit:
    inputs = draw(rng, (num_examples, config.input_dim))
    return dataset.ArraySplit(inputs, function(inputs))

  train, test = split(config.num_train), split(NUM_TEST)
  return dataset.Dataset(
    name=config.dataset,
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(config.input_dim,),
    num_outputs=1,
    num_classes=2 if is_xor else None,
  )
