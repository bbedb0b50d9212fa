"""Synthetic regression: a student learns a random two-layer ReLU teacher.

Shin et al. (UAI 2025), Appendix C, after Advani et al. (2020): inputs in R^100
with standard normal entries, targets teacher(x) + N(0, 1), 20,400 training and
5,100 test examples. The weights of the teacher are not stated there: here they
are normal, without biases, scaled so that the teacher's output has standard
deviation `teacher_scale` over the training inputs.
"""

import ml_collections
import numpy as np

from data import dataset

NUM_INPUTS = 100
NUM_TRAIN = 20_400
NUM_TEST = 5_100


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task; the best test loss is about target_noise^2."""
  seed = dataset.data_seed(config)
  rng = np.random.default_rng([seed, 0x7EAC])
  inputs = rng.standard_normal((NUM_TRAIN + NUM_TEST, NUM_INPUTS))
  hidden = rng.standard_normal((NUM_INPUTS, config.teacher_num_neurons))
  readout = rng.standard_normal((config.teacher_num_neurons, 1))
  clean = np.maximum(inputs @ hidden, 0) @ readout
  clean *= config.teacher_scale / np.std(clean[:NUM_TRAIN])
  noise = rng.standard_normal(clean.shape)
  targets = (clean + config.target_noise * noise).astype(np.float32)
  inputs = inputs.astype(np.float32)

  train = dataset.ArraySplit(inputs[:NUM_TRAIN], targets[:NUM_TRAIN])
  test = dataset.ArraySplit(inputs[NUM_TRAIN:], targets[NUM_TRAIN:])
  return dataset.Dataset(
    name="teacher_student",
    splits={**dataset.hold_out(train, config), "test": test},
    input_shape=(NUM_INPUTS,),
    num_outputs=1,
    num_classes=None,
  )
