"""Flax (Linen) models, one family a file."""

from collections.abc import Mapping
from typing import Any, Protocol

from flax import linen as nn
import jax.numpy as jnp
import ml_collections

from models import actor_critic
from models import centred
from models import gcn
from models import lstm
from models import mlp
from models import own
from models import resnet
from models import transformer
from models import two_layer
from models import two_layer_conv
from models import vgg
from models import vit


class Task(Protocol):
  """What a model knows of a data set."""

  @property
  def num_outputs(self) -> int: ...

  @property
  def vocabulary_size(self) -> int | None: ...

  @property
  def padding(self) -> int | None: ...


class Model(Protocol):
  """The part of `flax.linen.Module` that is used of a model."""

  def init(self, rngs: Any, inputs: Any, /, *, train: bool = True) -> Any: ...

  def apply(
    self,
    variables: Any,
    inputs: Any,
    /,
    *,
    train: bool = True,
    rngs: Any = None,
    mutable: Any = False,
  ) -> Any: ...


def create(
  config: ml_collections.ConfigDict,
  dataset: Task,
  model_args: Mapping[str, Any] | None = None,
) -> Model:
  """Returns the model that the config names, as big as the data set needs.

  It is called as `apply(variables, inputs, train: bool)` and returns logits
  (or real outputs) of shape [B, dataset.num_outputs]; a tagger, for inputs
  [B, L], of [B, L, dataset.num_outputs].

  Args:
    config: reads the fields of the section "model" in configs/fields/, and
      lazy_alpha. A `config.model` that is PATH.py:NAME is a class in a file.
    dataset: gives the number of outputs; of a text, also that of token ids and
      the one that is padding.
    model_args: fields of that class, by name.

  Raises:
    own.Unusable: there is no such class, or it cannot be used.
    ValueError: unknown `config.model`.
  """
  if ":" in config.model:
    return own.create(
      config.model, dataset.num_outputs, model_args or {}, _dtypes(config.dtype)
    )
  model = _create(config, dataset)
  return centred.Centred(model) if config.lazy_alpha else model


def _dtypes(name: str) -> dict[str, Any]:
  dtype = jnp.dtype(name)
  # Parameters stay float32 in bfloat16: there, SAM's perturbation would leave
  # most weights where they are.
  param_dtype = jnp.promote_types(dtype, jnp.float32)
  return {"dtype": dtype, "param_dtype": param_dtype}


def _create(config: ml_collections.ConfigDict, dataset: Task) -> nn.Module:
  dtypes = _dtypes(config.dtype)
  if config.model == "mlp":
    return mlp.MLP(
      num_outputs=dataset.num_outputs,
      num_neurons=tuple(config.num_neurons),
      bias_layers=config.bias_layers,
      **dtypes,
    )
  if config.model == "two_layer":
    (num_neurons,) = config.num_neurons
    return two_layer.TwoLayer(
      num_outputs=dataset.num_outputs,
      num_neurons=num_neurons,
      activation=config.activation,
      use_bias=config.use_bias,
      initialization=config.initialization,
      first_layer_scale=config.first_layer_scale,
      normalization=config.normalization,
      trained_layers=config.trained_layers,
      **dtypes,
    )
  if config.model == "two_layer_conv":
    return two_layer_conv.TwoLayerConv(
      num_filters=config.num_filters,
      averaged_over=config.averaged_over,
      initialization=config.filter_initialization,
      init_scale=config.init_scale,
      **dtypes,
    )
  if config.model in resnet.STAGES:
    return resnet.ResNet(
      num_outputs=dataset.num_outputs,
      num_filters=config.num_filters,
      variant=config.model,
      blocks_per_stage=config.blocks_per_stage,
      batch_norm_axis="batch" if config.sync_batch_norm else None,
      **dtypes,
    )
  if config.model == "vgg11":
    return vgg.VGG11(
      num_outputs=dataset.num_outputs,
      num_filters=config.num_filters,
      **dtypes,
    )
  if config.model == "vit":
    return vit.ViT(
      num_outputs=dataset.num_outputs,
      hidden_size=config.hidden_size,
      head_size=config.head_size,
      num_layers=config.num_layers,
      patch_size=config.patch_size,
      **dtypes,
    )
  if config.model == "transformer":
    return transformer.Transformer(
      num_outputs=dataset.num_outputs,
      vocabulary_size=_of_text(dataset.vocabulary_size),
      padding=_of_text(dataset.padding),
      hidden_size=config.hidden_size,
      head_size=config.head_size,
      num_layers=config.num_layers,
      dropout=config.dropout,
      **dtypes,
    )
  if config.model == "actor_critic":
    return actor_critic.ActorCritic(
      num_outputs=dataset.num_outputs,
      num_filters=config.num_filters,
      **dtypes,
    )
  if config.model == "gcn":
    return gcn.GCN(
      num_outputs=dataset.num_outputs,
      hidden_size=config.hidden_size,
      message_passing_steps=config.message_passing_steps,
      num_mlp_layers=config.num_mlp_layers,
      dropout=config.dropout,
      **dtypes,
    )
  if config.model == "lstm":
    return lstm.LSTM(
      num_outputs=dataset.num_outputs,
      vocabulary_size=_of_text(dataset.vocabulary_size),
      padding=_of_text(dataset.padding),
      hidden_size=config.hidden_size,
      dropout=config.dropout,
      **dtypes,
    )
  raise ValueError(f"unknown model {config.model!r}")


def _of_text(value: int | None) -> int:
  assert value is not None, "the data set is no text"
  return value
