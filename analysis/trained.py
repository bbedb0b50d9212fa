"""A trained run to use: its weights, its config, and its predictions.

`load` reads the run folder alone, not the data set.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import sweep
import data
from data import task as task_lib
from run_folder import checkpoints
from run_folder import files
from run_folder import naming
from run_folder import trained_on
from training import run_axis
from training import setup as setup_lib

PyTree = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
  """A run at a checkpoint.

  Attributes:
    config: its own values.
    step: of the checkpoint.
    weights: 'params', where pruned weights are 0, and 'model_state', such as
      BatchNorm's averages; NumPy arrays.
    task: what is known of its data set.
  """

  config: ml_collections.ConfigDict
  step: int
  weights: PyTree
  task: task_lib.Task

  @property
  def variables(self) -> dict[str, PyTree]:
    """What `model.apply` takes."""
    return {"params": self.weights["params"], **self.weights["model_state"]}

  @functools.cached_property
  def model(self) -> Any:
    """Its Flax module.

    Raises:
      ConfigError: it is a file of one's own, which cannot be used.
    """
    return setup_lib.create_model(self.config, self.task)

  def predict(self, inputs: Any) -> np.ndarray:
    """Returns the outputs for raw inputs, such as uint8 images.

    They are logits, [N, outputs], or the outputs of a regression; a sequence
    has some for each token, [N, L, outputs]. A model is in inference mode, and
    takes `eval_batch_size` inputs at once.

    Args:
      inputs: [N, *task.input_shape], as the data set has them: they are
        normalized here as in training.

    Raises:
      RunError: they have another shape, or the run normalizes them by a
        function of its own.
    """
    inputs = np.asarray(inputs)
    shape = self.task.input_shape
    if inputs.shape[1:] != shape or not len(inputs):
      sizes = ", ".join(map(str, shape))
      raise files.RunError(
        f"inputs have shape {inputs.shape}; must be [N, {sizes}]"
      )
    size = self.config.eval_batch_size
    return np.concatenate(
      [
        jax.device_get(self._outputs(self.variables, inputs[i : i + size]))
        for i in range(0, len(inputs), size)
      ]
    )

  @functools.cached_property
  def _outputs(self) -> Any:
    normalize = self.task.normalize
    if normalize is None:
      raise files.RunError(
        f"{self.task.name} is normalized by a function that is not in the run"
        " folder; call model.apply(variables, inputs, train=False)"
      )

    def outputs(variables: PyTree, inputs: jax.Array) -> jax.Array:
      return self.model.apply(variables, normalize(inputs), train=False)

    return jax.jit(outputs)


def load(
  workdir: str | pathlib.Path,
  which: str = "latest",
  *,
  run: str = "",
  data_dir: str | None = None,
) -> Trained:
  """Returns a run of a folder; its data need not be there.

  Args:
    workdir: the run folder.
    which: 'latest', 'best' (not of a sweep) or a step.
    run: its name in a sweep, such as 'rho=0.1-seed=0'.
    data_dir: see `data.load`; read for a folder of a version that did not keep
      what is needed of the data set.

  Raises:
    RunError, CheckpointError: there is no such run or checkpoint, or it needs
      JAX's option jax_enable_x64.
  """
  config = files.load_config(str(workdir))
  if config.dtype == "float64" and jnp.result_type(float) != jnp.float64:
    raise files.RunError(
      f"{workdir}: its weights are float64; first call"
      ' jax.config.update("jax_enable_x64", True)'
    )
  names = naming.run_names(config)
  if run not in names:
    raise files.RunError(
      f"{workdir}: has no run {run!r}; must be one of {', '.join(names)}"
    )
  step, items = checkpoints.restore(workdir, which)
  index = names.index(run)
  weights = run_axis.take(items["weights"], index, len(names))
  own = sweep.runs(config)[index]
  return Trained(
    config=own,
    step=step,
    weights=jax.tree.map(np.copy, weights),  # So that the others are freed.
    task=_task(pathlib.Path(workdir), own, data_dir),
  )


def _task(
  workdir: pathlib.Path, config: ml_collections.ConfigDict, data_dir: str | None
) -> task_lib.Task:
  found = files.read_facts(workdir).get(trained_on.TASK)
  if found is None:
    return task_lib.of(data.load(config, data_dir))
  try:
    return task_lib.from_json(found)
  except (ValueError, KeyError, TypeError) as e:
    raise files.RunError(
      f"{workdir}: {files.CONFIG}: {trained_on.TASK}: cannot be used ({e})"
    ) from e
