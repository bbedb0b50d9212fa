"""TensorFlow, which only reads records and writes events here: it is silent."""

import os
from typing import Any


def set_up() -> None:
  """Sets what TensorFlow reads from the environment when it is imported.

  It is called before anything that imports it, as TFDS and clu do. What was set
  before is overridden, whoever set it: `import jax` lowers the log level.
  """
  # Where a processor has instructions for it, oneDNN is on by itself. That is
  # said at every log level, and images are resized to other bits.
  os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
  os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def load() -> Any:
  """Returns TensorFlow without GPUs, which are JAX's."""
  set_up()
  import tensorflow as tf

  tf.config.set_visible_devices([], "GPU")
  return tf
