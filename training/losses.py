"""What is minimized: one function per kind of loss, for training and measuring.

A kind of loss maps a model's outputs and a batch to per-example values. The
mean of 'loss' over examples is minimized; every value is averaged and logged.

Where an example has several labels, as a sequence with a tag for each token,
its value is the sum over its labels, divided by the mean number of labels of an
example, a constant of the data set. So the loss of a split is its mean over
labels, the gradient of a batch is an unbiased estimate of its gradient however
the batch is cut into devices or microbatches, and every example has a loss, and
a Hessian, of its own. 'weight' is then its number of labels over the mean one:
what is logged is the sum of the values over the sum of the weights.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import ml_collections
import optax

from data.dataset import NO_LABEL
from training import metrics

PyTree = Any
Batch = Mapping[str, jax.Array]
LossFn = Callable[
  [PyTree, PyTree, Batch, jax.Array], tuple[jax.Array, dict[str, Any]]
]
# The collections of model_state that a training step changes: BatchNorm's
# running averages. All others are constants.
CHANGING = ("batch_stats",)


class Model(Protocol):
  """What a loss calls."""

  def apply(
    self,
    variables: Any,
    inputs: Any,
    /,
    *,
    train: bool,
    rngs: Any,
    mutable: Any,
  ) -> Any: ...


class Task(Protocol):
  """What a loss knows of a data set."""

  @property
  def num_classes(self) -> int | None: ...

  @property
  def num_outputs(self) -> int: ...

  @property
  def labels_per_example(self) -> float | None: ...


def is_binary(dataset: Task) -> bool:
  """Whether one output stands for two classes: its sign tells the class."""
  return (
    dataset.num_classes == 2
    and dataset.num_outputs == 1
    and dataset.labels_per_example is None
  )


def signs(labels_B: jax.Array, dtype: Any) -> jax.Array:
  """Returns -1 for class 0 and +1 for class 1, [B, 1]."""
  return (2 * labels_B - 1).astype(dtype)[:, None]


# In these, B can be several axes: an example can have several labels.


def smooth_one_hot(
  labels_B: jax.Array, num_classes: int, smoothing: float
) -> jax.Array:
  """Returns (1 - smoothing) one-hot + smoothing / num_classes, [B, C]."""
  one_hot_BxC = jax.nn.one_hot(labels_B, num_classes)
  return (1 - smoothing) * one_hot_BxC + smoothing / num_classes


def accuracy(logits_BxC: jax.Array, labels_B: jax.Array) -> jax.Array:
  """Returns 1 where the largest logit is the label, else 0, [B]."""
  return (jnp.argmax(logits_BxC, -1) == labels_B).astype(logits_BxC.dtype)


def sign_agreement(outputs_Bx1: jax.Array, signs_Bx1: jax.Array) -> jax.Array:
  """Returns 1 where the output has the sign of the class, else 0, [B].

  An output of 0 is wrong for both classes.
  """
  return (outputs_Bx1 * signs_Bx1 > 0)[:, 0].astype(outputs_Bx1.dtype)


def cross_entropy(
  logits_BxC: jax.Array, labels_B: jax.Array, smoothing: float
) -> jax.Array:
  """Returns softmax cross-entropy in nats, [B]."""
  targets_BxC = smooth_one_hot(labels_B, logits_BxC.shape[-1], smoothing)
  return optax.softmax_cross_entropy(logits_BxC, targets_BxC)


def logistic(
  outputs_Bx1: jax.Array, signs_Bx1: jax.Array, smoothing: float
) -> jax.Array:
  """Returns (1 - p) ln(1 + e^(-y f)) + p ln(1 + e^(y f)) in nats, [B].

  Wen et al. (2023) smooth labels so: p moves to the other class, where softmax
  cross-entropy spreads it over all of them.

  Args:
    outputs_Bx1: f.
    signs_Bx1: y, -1 or +1.
    smoothing: p.
  """
  margins_B = (outputs_Bx1 * signs_Bx1)[:, 0]
  right, wrong = jax.nn.softplus(-margins_B), jax.nn.softplus(margins_B)
  return (1 - smoothing) * right + smoothing * wrong


def binary_cross_entropy(
  logits_BxT: jax.Array, labels_BxT: jax.Array, smoothing: float
) -> jax.Array:
  """Returns the cross-entropy of each task in nats, [B, T].

  Args:
    logits_BxT: of label 1.
    labels_BxT: 0 or 1; what it returns for others means nothing.
    smoothing: as in `smooth_one_hot`.
  """
  targets_BxT = (1 - smoothing) * (labels_BxT == 1) + smoothing / 2
  return optax.sigmoid_binary_cross_entropy(logits_BxT, targets_BxT)


def squared_error(outputs_BxC: jax.Array, targets_BxC: jax.Array) -> jax.Array:
  """Returns the squared error summed over outputs, without a factor 1/2, [B].

  Shin et al., Section 6, and Wen et al. (2023) define it so.
  """
  return jnp.sum(jnp.square(outputs_BxC - targets_BxC), -1)


def ppo(
  outputs_BxO: jax.Array,
  targets_Bx5: jax.Array,
  *,
  value_coefficient: float,
  entropy_coefficient: float,
) -> dict[str, jax.Array]:
  """Returns the clipped loss of Schulman et al. (2017), eq. 9, and its parts.

  Args:
    outputs_BxO: logits of the actions and, last, the value.
    targets_Bx5: see `data.breakout.COLUMNS`.
    value_coefficient: weight of the squared error of the value.
    entropy_coefficient: weight of the entropy, in nats, which is maximized.

  Returns:
    'loss' and its parts without their weights, [B].
  """
  logits_BxA, values_B = outputs_BxO[:, :-1], outputs_BxO[:, -1]
  actions_B, old_B, advantages_B, returns_B, clip_B = targets_Bx5.T
  log_probs_BxA = jax.nn.log_softmax(logits_BxA)
  log_probs_B = jnp.take_along_axis(
    log_probs_BxA, actions_B[:, None].astype(jnp.int32), -1
  )[:, 0]
  ratios_B = jnp.exp(log_probs_B - old_B)
  clipped_B = jnp.clip(ratios_B, 1 - clip_B, 1 + clip_B)
  gains_B = jnp.minimum(ratios_B * advantages_B, clipped_B * advantages_B)
  errors_B = jnp.square(values_B - returns_B)
  entropies_B = -jnp.sum(jnp.exp(log_probs_BxA) * log_probs_BxA, -1)
  return {
    "loss": value_coefficient * errors_B
    - gains_B
    - entropy_coefficient * entropies_B,
    "policy_loss": -gains_B,
    "value_loss": errors_B,
    "entropy": entropies_B,
  }


def sum_over_labels(
  values: dict[str, jax.Array], labels_BxL: jax.Array, mean_labels: float
) -> dict[str, jax.Array]:
  """Returns the values of examples with several labels, and 'weight', [B].

  Args:
    values: those of each label, [B, L].
    labels_BxL: the labels; `dataset.NO_LABEL` marks padding.
    mean_labels: number of labels of an example, on average.
  """
  is_label = labels_BxL != NO_LABEL
  ones = jnp.ones_like(values["loss"])
  return {
    name: jnp.sum(jnp.where(is_label, x, 0), -1) / mean_labels
    for name, x in {**values, "weight": ones}.items()
  }


def metric_names(
  config: ml_collections.ConfigDict, dataset: Task
) -> tuple[str, ...]:
  """Returns the names of the per-example values."""
  if config.loss == "ppo":
    return ("loss", "policy_loss", "value_loss", "entropy")
  if dataset.num_classes is None:
    return ("loss",)
  weight = () if dataset.labels_per_example is None else (metrics.WEIGHT,)
  return ("loss", "accuracy", *weight)


def split_metrics(config: ml_collections.ConfigDict) -> metrics.SplitMetrics:
  """Returns the metrics that need the outputs for a whole split, by name."""
  if config.loss == "binary_cross_entropy":
    return {"average_precision": metrics.mean_average_precision}
  return {}


def per_example(
  config: ml_collections.ConfigDict, dataset: Task, *, train: bool
) -> Callable[[jax.Array, jax.Array], dict[str, jax.Array]]:
  """Returns a function (outputs, targets) -> the values of each example, [B].

  See `create` for the arguments.
  """
  smoothing = config.label_smoothing if train else 0.0
  alpha = config.lazy_alpha or 1.0

  def values_of(outputs, targets):
    # In bfloat16 runs the loss is computed in float32.
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    if config.loss == "ppo":
      return ppo(
        outputs,
        targets,
        value_coefficient=config.value_coefficient,
        entropy_coefficient=config.entropy_coefficient,
      )
    if dataset.num_classes is None:
      return {"loss": squared_error(outputs, targets)}
    if is_binary(dataset):
      sides = signs(targets, outputs.dtype)
      if config.loss == "squared_error":
        loss = squared_error(outputs, sides)
      else:
        loss = logistic(outputs, sides, smoothing)
      return {"loss": loss, "accuracy": sign_agreement(outputs, sides)}
    if config.loss == "binary_cross_entropy":
      loss = binary_cross_entropy(outputs, targets, smoothing)
      hits = ((outputs > 0) == (targets == 1)).astype(outputs.dtype)
    else:
      hits = accuracy(outputs, targets)
      if config.loss == "squared_error":
        one_hot = smooth_one_hot(targets, dataset.num_classes, smoothing)
        loss = squared_error(outputs, one_hot / alpha)
      else:
        loss = cross_entropy(outputs, targets, smoothing)
    values = {"loss": loss, "accuracy": hits}
    if dataset.labels_per_example is None:
      return values
    return sum_over_labels(values, targets, dataset.labels_per_example)

  return values_of


def create(
  config: ml_collections.ConfigDict,
  model: Model,
  dataset: Task,
  *,
  train: bool = True,
) -> LossFn:
  """Returns the loss of a model.

  Args:
    config: reads loss and the other fields of that section.
    model: called as `apply(variables, inputs, train=...)`.
    dataset: says whether targets are class labels, how many of them an example
      has, and whether one output stands for two of them.
    train: whether the model trains (BatchNorm takes the statistics of the
      batch and updates its running ones, labels are smoothed) or is evaluated.

  Returns:
    A function (params, model_state, batch, rng) -> (loss, aux): batch has
    'inputs' (arrays [B, ...]) and 'targets' ([B] or [B, L] labels, or
    [B, outputs]);
    rng is the key of dropout, the same in both passes of SAM; model_state
    holds the other variables of the model; aux has 'per_example', a dict of
    [B] arrays, 'model_state', the part of it that changes, updated, and unless
    it trains 'outputs', those of the model.
  """
  values_of = per_example(config, dataset, train=train)

  def loss_fn(params, model_state, batch, rng):
    outputs, changed = model.apply(
      {"params": params, **model_state},
      batch["inputs"],
      train=train,
      rngs={"dropout": rng},
      mutable=[n for n in model_state if n in CHANGING] if train else [],
    )
    values = values_of(outputs, batch["targets"])
    aux = {"per_example": values, "model_state": changed}
    if not train:
      aux["outputs"] = outputs
    return jnp.mean(values["loss"]), aux

  return loss_fn


def merge_microbatches(aux: dict[str, Any]) -> dict[str, Any]:
  """Merges the aux of microbatches, stacked on a leading axis.

  Per-example values are joined; running averages are averaged.
  """
  return {
    "per_example": jax.tree.map(lambda x: x.reshape(-1), aux["per_example"]),
    "model_state": jax.tree.map(lambda x: jnp.mean(x, 0), aux["model_state"]),
  }
