"""Flax (Linen) models, one family a file."""

from typing import Protocol

from flax import linen as nn
import jax.numpy as jnp
import ml_collections

from models import mlp
from models import resnet


class Task(Protocol):
  """What a model knows of a data set."""

  @property
  def num_outputs(self) -> int: ...


def create(config: ml_collections.ConfigDict, dataset: Task) -> nn.Module:
  """Returns the model that the config names, as big as the data set needs.

  It is called as `apply(variables, inputs, train: bool)` and returns logits
  (or real outputs) of shape [B, dataset.num_outputs].

  Args:
    config: reads the fields of the section "model" in configs/base.py.
    dataset: gives the number of outputs.

  Raises:
    ValueError: unknown `config.model`.
  """
  dtype = jnp.dtype(config.dtype)
  # Parameters stay float32 in bfloat16: there, SAM's perturbation would leave
  # most weights where they are.
  param_dtype = jnp.promote_types(dtype, jnp.float32)
  if config.model == "mlp":
    return mlp.MLP(
      num_outputs=dataset.num_outputs,
      num_neurons=tuple(config.num_neurons),
      dtype=dtype,
      param_dtype=param_dtype,
    )
  if config.model in resnet.STAGES:
    return resnet.ResNet(
      num_outputs=dataset.num_outputs,
      num_filters=config.num_filters,
      variant=config.model,
      blocks_per_stage=config.blocks_per_stage,
      batch_norm_axis="batch" if config.sync_batch_norm else None,
      dtype=dtype,
      param_dtype=param_dtype,
    )
  raise ValueError(f"unknown model {config.model!r}")
