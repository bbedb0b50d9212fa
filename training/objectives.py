"""What `sharpness/` measures of a run: its objectives, and where on them.

An objective is what training minimizes, but for weight decay and augmentation:
the mean loss over a split, labels as noisy and as smoothed as in training, with
BatchNorm in inference mode unless batch statistics are asked for. It is
computed in float32 for bfloat16 runs, whose second derivatives are too rough.
"""

from collections.abc import Hashable
import dataclasses
from typing import Any

from flax import errors as flax_errors
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import errors
from data import dataset as dataset_lib
import models
from sharpness import measures
from sharpness import objective as objective_lib
from training import losses
from training import placement
from training import setup as setup_lib
from training.setup import Setup

PyTree = Any

# What `config.sharpness_every_epochs` logs.
WHILE_TRAINING = ("lambda_max", "trace", "m_sharpness")


@dataclasses.dataclass(frozen=True)
class _Predict:
  """A model on raw inputs; equal ones share what is compiled."""

  model: models.Model
  normalize: dataset_lib.Normalize
  train: bool

  def __call__(
    self, params: PyTree, model_state: PyTree, batch: objective_lib.Batch
  ) -> jax.Array:
    try:
      outputs, _ = self.model.apply(
        {"params": params, **model_state},
        self.normalize(batch["inputs"]),
        train=self.train,
        mutable=list(losses.CHANGING),
      )
    except flax_errors.InvalidRngError as e:  # Of the user's own models alone.
      raise errors.UserError(
        "with the statistics of batches a model must not draw random numbers,"
        f" as dropout does ({type(self.model).__name__})"
      ) from e
    return outputs


class Objectives:
  """Makes the objectives of the runs of a setup."""

  def __init__(self, setup: Setup):
    self._setup = setup
    config = setup.config.copy_and_resolve_references()
    config.sync_batch_norm = False  # There is one device.
    config.dropout = 0.0  # A function of the weights alone.
    if config.dtype == "bfloat16":
      config.dtype = "float32"
    model = setup_lib.create_model(config, setup.dataset)
    self._predict = {
      train: _Predict(model, setup.dataset.normalize, train)
      for train in (False, True)
    }
    self._loss = {train: _loss(setup, train) for train in (False, True)}
    self._batches: dict[Hashable, list[objective_lib.Batch]] = {}

  def create(
    self,
    index: int,
    weights: PyTree,
    mask: PyTree | None = None,
    *,
    split: str = "train",
    num_examples: int = 0,
    batch_statistics: bool = False,
  ) -> objective_lib.Objective:
    """Returns the objective of a run.

    The examples are in a random order, the same for every run.

    Args:
      index: of the run in the sweep.
      weights: its 'params' and 'model_state'.
      mask: False where a weight is pruned; directions stay where it is True.
      split: 'train', 'validation' or 'test'.
      num_examples: of them (of a streamed split, the first ones); 0: all.
      batch_statistics: whether BatchNorm normalizes by the batch, as in
        training on one device (batches of config.batch_size, the rest is
        dropped), instead of by its running averages.

    Raises:
      UserError: the data set has no such split; or it is streamed, and
        `num_examples` is 0.
    """
    return objective_lib.Objective(
      self._predict[batch_statistics],
      self._loss[split == "train"],
      weights["params"],
      self._cut(index, split, num_examples, batch_statistics),
      model_state=weights["model_state"],
      mask=mask,
      independent_examples=not batch_statistics,
    )

  def _cut(
    self, index: int, split: str, num_examples: int, batch_statistics: bool
  ) -> list[objective_lib.Batch]:
    """Returns the batches of a split; those of equal splits are shared."""
    dataset = self._setup.datasets[index]
    if split not in dataset.splits:
      raise errors.UserError(
        f"split={split!r}: must be one of {', '.join(dataset.splits)}"
      )
    key = dataset.key(split), num_examples, batch_statistics
    if key not in self._batches:
      examples = _examples(dataset, split, num_examples)
      size = len(examples["targets"])
      config = self._setup.config
      most = min(config.eval_batch_size, size)
      if batch_statistics:
        most = min(config.batch_size, size)
        examples = {k: x[: size // most * most] for k, x in examples.items()}
      on_device = {k: jnp.asarray(x) for k, x in examples.items()}
      self._batches[key] = objective_lib.batched(on_device, most)
    return self._batches[key]


def point(
  config: ml_collections.ConfigDict,
  objective: objective_lib.Objective,
  *,
  learning_rate: float | None = None,
  rho: float = 0.0,
  num_devices: int = 1,
) -> measures.Point:
  """Returns where a run is measured.

  Args:
    config: of the run.
    objective: its loss.
    learning_rate: None: the peak of the run's.
    rho: 0: that of the run; where its perturbation is another one than the
      normalized, or none, `measures.DEFAULT_RHO`.
    num_devices: over which a batch of the run was spread.
  """
  own = 0.0
  if config.optimizer == "sam" and config.perturbation == "normalized":
    own = config.rho
  if learning_rate is None:
    learning_rate = config.learning_rate
  m = placement.perturbation_batch(config, num_devices)
  return measures.Point(
    objective=objective,
    learning_rate=float(learning_rate),
    rho=float(rho or own or measures.DEFAULT_RHO),
    m=min(m, objective.num_examples),
  )


def _loss(setup: Setup, train: bool) -> objective_lib.OutputLoss:
  values_of = losses.per_example(setup.config, setup.dataset, train=train)
  return lambda outputs, batch: values_of(outputs, batch["targets"])["loss"]


def _examples(
  dataset: dataset_lib.Dataset, name: str, num_examples: int
) -> dict[str, np.ndarray]:
  """Returns raw 'inputs' and 'targets' of a split, or of some of it."""
  split = dataset.splits[name]
  size = min(num_examples or split.num_examples, split.num_examples)
  if isinstance(split, dataset_lib.ArraySplit):
    rows = np.random.default_rng(0).permutation(split.num_examples)[:size]
    return {"inputs": split.inputs[rows], "targets": split.targets[rows]}
  if not num_examples:
    raise errors.UserError(
      f"num_examples=0: must be >= 1 for {dataset.name}, which is streamed"
    )
  batch = next(iter(split.eval_batches(size)))
  return {k: np.asarray(batch[k]) for k in ("inputs", "targets")}
