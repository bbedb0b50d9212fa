"""What is logged: clu metric collections over per-example values."""

from collections.abc import Callable, Mapping
import functools
from typing import Any

from clu import metrics as clu_metrics
import flax
import jax
import jax.numpy as jnp
import numpy as np

from training import run_axis

Collection = type[clu_metrics.Collection]
# By name: (outputs, targets) of a split, [N, ...] -> value.
SplitMetrics = Mapping[str, Callable[[np.ndarray, np.ndarray], float]]

# The per-example value that weights the others.
WEIGHT = "weight"
_NEVER = jnp.iinfo(jnp.int32).max


@flax.struct.dataclass
class FirstNonFinite(clu_metrics.Metric):
  """The first step at which the loss or the gradient was not finite."""

  loss: jax.Array
  gradient_norm: jax.Array

  @classmethod
  def empty(cls) -> "FirstNonFinite":
    return cls(jnp.int32(_NEVER), jnp.int32(_NEVER))

  @classmethod
  def from_model_output(cls, *, step: jax.Array, **outputs: jax.Array):
    def first(name):
      finite = jnp.all(jnp.isfinite(outputs[name]))
      return jnp.where(finite, _NEVER, step).astype(jnp.int32)

    return cls(first("loss"), first("gradient_norm"))

  def merge(self, other: "FirstNonFinite") -> "FirstNonFinite":
    return jax.tree.map(jnp.minimum, self, other)

  def compute(self) -> dict[str, jax.Array]:
    return {"loss": self.loss, "gradient_norm": self.gradient_norm}


@flax.struct.dataclass
class Sharpness(clu_metrics.Average):
  """The mean of loss at the perturbed point minus loss, over SAM's steps."""

  @classmethod
  def from_model_output(
    cls, *, loss: jax.Array, perturbed_loss: jax.Array | None = None, **_: Any
  ):
    if perturbed_loss is None:  # Not a step of SAM.
      return cls(jnp.zeros((), loss.dtype), jnp.int32(0))
    return cls(perturbed_loss - jnp.mean(loss), jnp.int32(1))


@flax.struct.dataclass
class WeightedAverage(clu_metrics.Metric):
  """The sum of the values over the sum of the weights.

  Values have their weights in them, as those of `losses.sum_over_labels`.

  Attributes:
    total: sum of the values.
    weight: sum of the weights.
    count: number of examples.
  """

  total: jax.Array
  weight: jax.Array
  count: jax.Array

  @classmethod
  def empty(cls) -> "WeightedAverage":
    return cls(jnp.zeros(()), jnp.zeros(()), jnp.int32(0))

  @classmethod
  def from_output(cls, name: str) -> type["WeightedAverage"]:
    """Returns the average of the output of this name; see `clu.metrics`."""

    @flax.struct.dataclass
    class FromOutput(cls):  # type: ignore[valid-type, misc]
      @classmethod
      def from_model_output(cls, *, mask: jax.Array | None = None, **outputs):
        values, weights = outputs[name], outputs[WEIGHT]
        if mask is None:
          mask = jnp.ones(values.shape, bool)
        total, weight = (
          jnp.sum(jnp.where(mask, x, 0)) for x in (values, weights)
        )
        return cls(total, weight, jnp.sum(mask, dtype=jnp.int32))

    return FromOutput

  def merge(self, other: "WeightedAverage") -> "WeightedAverage":
    return jax.tree.map(jnp.add, self, other)

  def compute(self) -> jax.Array:
    return self.total / self.weight


def _averages(names: tuple[str, ...]) -> dict[str, type]:
  """Returns the averages of per-example values, weighted if one is a weight."""
  average = WeightedAverage if WEIGHT in names else clu_metrics.Average
  return {name: average.from_output(name) for name in names if name != WEIGHT}


@functools.cache  # Parts of a sweep share their type.
def train_collection(per_example: tuple[str, ...]) -> Collection:
  """Returns the metrics of training steps: averages since the last line.

  Args:
    per_example: names of the per-example values. The step also outputs
      learning_rate, gradient_norm (of the gradient that updates the weights,
      before clipping and weight decay), step and, if it is one of SAM's,
      perturbed_loss.
  """
  return clu_metrics.Collection.create(
    **_averages(per_example),
    gradient_norm=clu_metrics.Average.from_output("gradient_norm"),
    sharpness=Sharpness,
    learning_rate=clu_metrics.LastValue.from_output("learning_rate"),
    first_nonfinite=FirstNonFinite,
  )


@functools.cache
def eval_collection(per_example: tuple[str, ...]) -> Collection:
  """Returns the metrics of an evaluation: averages over examples."""
  return clu_metrics.Collection.create(**_averages(per_example))


def empty(collection: Collection) -> Any:
  """Returns the metrics of no examples, in the default float type."""

  def widen(x: jax.Array) -> np.ndarray:
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    dtype = jnp.result_type(float) if is_float else x.dtype
    return np.asarray(x, dtype)

  return jax.tree.map(widen, collection.empty())


def of_batch(collection: Collection, axis: str | None, **outputs: Any) -> Any:
  """Returns the metrics of a batch that is spread over a mapped axis.

  Args:
    collection: which metrics.
    axis: name of the axis; None: the batch is not spread.
    **outputs: what the metrics read, of this device.
  """
  if axis is None:
    return collection.single_from_model_output(**outputs)
  return collection.gather_from_model_output(axis_name=axis, **outputs)


def merge(total: Any, update: Any) -> Any:
  """Returns `total` merged with `update`, with the dtypes of `total`."""
  return total.merge(
    jax.tree.map(lambda u, t: u.astype(t.dtype), update, total)
  )


@functools.partial(jax.jit, static_argnums=1)
def _compute_all(metrics: Any, num_runs: int) -> Any:
  return run_axis.vmap(lambda m: m.compute(), num_runs)(metrics)


def by_run(metrics: Any, num_runs: int = 1) -> list[dict[str, Any]]:
  """Returns the computed metrics of each run, on the host."""
  if num_runs == 1:
    # NumPy would warn of averages over nothing.
    metrics = jax.tree.map(jnp.asarray, metrics)
    return [jax.device_get(metrics.compute())]
  values = jax.device_get(_compute_all(metrics, num_runs))
  return run_axis.unstack(values, num_runs)


def mean_average_precision(
  scores_NxT: np.ndarray, labels_NxT: np.ndarray
) -> float:
  """Returns the average precision of each binary task, averaged over tasks.

  As for the molecules of the Open Graph Benchmark (Hu et al., 2020).

  Args:
    scores_NxT: larger where label 1 is more likely.
    labels_NxT: 0, 1, or what is neither where there is no label.

  Returns:
    The mean over the tasks that have labels of both classes, and NaN if none
    has, or a score is not finite.
  """
  from sklearn import metrics as sklearn_metrics  # Takes a second to import.

  if not np.isfinite(scores_NxT).all():
    return float("nan")
  precisions = []
  for scores, labels in zip(scores_NxT.T, labels_NxT.T, strict=True):
    has_label = (labels == 0) | (labels == 1)
    if {0, 1} <= set(labels[has_label]):
      precisions.append(
        sklearn_metrics.average_precision_score(
          labels[has_label], scores[has_label]
        )
      )
  return float(np.mean(precisions)) if precisions else float("nan")


Computed = tuple[dict[str, float], tuple[str, int] | None]


def compute(metrics: Any, num_runs: int = 1) -> list[Computed]:
  """Returns the train metrics of each run, without those that have no value.

  Args:
    metrics: of `train_collection`.
    num_runs: of how many runs.

  Returns:
    Of each run, the values by name, and (metric, step) of the first that was
    not finite, or None.
  """
  counts = np.atleast_1d(jax.device_get(metrics.sharpness.count))
  computed: list[Computed] = []
  for values, count in zip(by_run(metrics, num_runs), counts, strict=True):
    firsts = values.pop("first_nonfinite")
    if not count:
      del values["sharpness"]
    name = min(firsts, key=lambda n: int(firsts[n]))
    step = int(firsts[name])
    numbers = {k: float(v) for k, v in values.items()}
    computed.append((numbers, None if step == _NEVER else (name, step)))
  return computed
