"""Matrix factorization: the targets are A x.

Shin et al. (UAI 2025), Section 6: A is 10 x 6, the entries of x are standard
normal, 1,000 training examples. How A is drawn is not stated there: here its
entries are normal, scaled so that the targets have standard deviation
`teacher_scale` over the training inputs. The test set is 1,000 more examples.
"""

import ml_collections
import numpy as np

from data import dataset

NUM_INPUTS = 6
NUM_OUTPUTS = 10
NUM_TRAIN = 1_000
NUM_TEST = 1_000


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task, which rank 6 solves without error."""
  rng = np.random.default_rng([dataset.data_seed(config), 0x3A7F])
  inputs = rng.standard_normal((NUM_TRAIN + NUM_TEST, NUM_INPUTS))
  targets = inputs @ rng.standard_normal((NUM_OUTPUTS, NUM_INPUTS)).T
  targets *= config.teacher_scale / np.std(targets[:NUM_TRAIN])
  inputs, targets = inputs.astype(np.float32), targets.astype(np.float32)

  train = dataset.ArraySplit(inputs[:NUM_TRAIN], targets[:NUM_TRAIN])
  test = dataset.ArraySplit(inputs[NUM_TRAIN:], targets[NUM_TRAIN:])
  return dataset.Dataset(
    name="matrix_factorization",
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(NUM_INPUTS,),
    num_outputs=NUM_OUTPUTS,
    num_classes=None,
  )
