"""What a config must be beyond its fields one by one: complete, and coherent.

A group of rules is a table, in the order in which they are tried. A rule is a
field, whether its value contradicts that of another, and what is allowed.
"""

from collections.abc import Iterator
from typing import Any

import ml_collections

from configs import errors
from configs import fields
from configs import kinds
from configs import model_args
from configs import reading
from configs import sweep

Rule = tuple[str, bool, str]


def check(config: ml_collections.ConfigDict) -> None:
  """Raises `ConfigError` if a value is wrong or two contradict each other."""
  single = (n for n, field in fields.FIELDS.items() if not field.each)
  for name in ("sweep", *single):
    if name not in config:
      raise errors.ConfigError(
        f"config.{name}: missing; start from base.get_config()"
      )
  for name in config:
    if name != "sweep":
      fields.check(name, config[name])
  for name, values in config.sweep.items():
    fields.check(f"sweep.{name}", values)
  lists = sweep.swept(config)
  # Every swept value once; no contradiction is between two swept fields.
  for i in range(max(map(len, lists.values()), default=1)):
    run = config.copy_and_resolve_references()
    for name, values in lists.items():
      run[name] = values[i % len(values)]
    for name, wrong, allowed in contradictions(run):
      if wrong:
        raise errors.ConfigError(f"config.{name}={shown(run[name])}: {allowed}")


def contradictions(c: ml_collections.ConfigDict) -> Iterator[Rule]:
  """Yields every rule, and whether the config breaks it."""
  yield from _sam(c)
  yield from _pruning(c)
  yield from _optimization(c)
  yield from _targets(c)
  yield from _models(c)
  yield from _lazy_training(c)
  yield from _examples(c)
  yield from _measurements(c)
  yield from _sweeps(c)


def shown(value: Any) -> str:
  """Returns a value as an error line has it."""
  if isinstance(value, str):
    return repr(value)
  return str(tuple(value) if isinstance(value, list) else value)


def _either(values: tuple[str, ...]) -> str:
  return " or ".join(map(repr, values))


def _sam(c: ml_collections.ConfigDict) -> list[Rule]:
  sam = c.optimizer == "sam"
  return [
    (
      "rho",
      sam and c.rho <= 0 and not c.sweep.rho,
      "must be > 0 with config.optimizer='sam' (use config.optimizer='sgd' for"
      " no perturbation)",
    ),
    (
      "sam_end",
      sam and c.sam_end <= c.sam_begin,
      f"must be > config.sam_begin={c.sam_begin}",
    ),
    (
      "microbatch_size",
      sam and c.microbatch_size > 0 and c.sync_perturbation,
      "excludes config.sync_perturbation=True, which perturbs with one gradient"
      " for all",
    ),
    (
      "microbatch_size",
      sam and c.microbatch_size > c.batch_size,
      f"must be <= config.batch_size={c.batch_size}",
    ),
    (
      "perturb_except",
      sam and c.perturb_except != "" and c.perturb_only != "",
      f"must be '' with config.perturb_only={c.perturb_only!r}",
    ),
    (
      "gradient_accumulation",
      sam and c.gradient_accumulation > 1 and c.microbatch_size > 0,
      f"must be 1 with config.microbatch_size={c.microbatch_size}, since"
      " microbatches are taken one after the other",
    ),
    (
      "ascent_steps",
      sam and c.ascent_steps > 1 and c.perturbation == "unnormalized",
      "must be 1 with config.perturbation='unnormalized', which has no ball to"
      " project to",
    ),
  ]


def _pruning(c: ml_collections.ConfigDict) -> list[Rule]:
  return [
    (
      "sparsity",
      c.sparsity > 0 and c.pruner == "none",
      "needs config.pruner, one of 'random', 'magnitude', 'snip'",
    ),
    (
      "pruner",
      c.dataset in kinds.GAMES and c.sparsity > 0 and c.pruner == "snip",
      f"must be 'random' or 'magnitude' with config.dataset={c.dataset!r},"
      " which has no examples before it is played",
    ),
  ]


def _optimization(c: ml_collections.ConfigDict) -> list[Rule]:
  starts = tuple(c.stage_starts)
  an_entry = f"must have an entry for each of config.stage_starts={starts!r}"
  return [
    ("stage_starts", list(starts) != sorted(set(starts)), "must ascend"),
    ("stage_lr_factors", len(c.stage_lr_factors) != len(starts), an_entry),
    (
      "stage_rho_factors",
      c.optimizer == "sam" and len(c.stage_rho_factors) != len(starts),
      an_entry,
    ),
    (
      "num_train_steps",
      c.num_train_steps == 0,
      "must be an integer >= 1, or -1",
    ),
    (
      "nesterov",
      c.nesterov and c.momentum == 0 and reading.is_read("nesterov", c),
      "must be False with config.momentum=0.0",
    ),
    (
      "warmup_steps",
      c.lr_scheduler == "inverse_sqrt" and c.warmup_steps == 0,
      "must be >= 1 with config.lr_scheduler='inverse_sqrt'",
    ),
    (
      "weight_decay_form",
      c.weight_decay_form != "coupled"
      and c.dataset not in kinds.SENTENCE_DATASETS,
      f"must be 'coupled' with config.dataset={c.dataset!r}",
    ),
  ]


def _targets(c: ml_collections.ConfigDict) -> list[Rule]:
  here = f"with config.dataset={c.dataset!r}"
  regression = c.dataset in kinds.REGRESSION_DATASETS
  binary = c.dataset in kinds.BINARY_DATASETS
  unknown = c.dataset in kinds.FILE_DATASETS  # See `check_arrays`.
  unlabelled = regression or c.dataset in kinds.GAMES
  fitting = kinds.losses_for(c.dataset)
  return [
    ("loss", c.loss not in fitting, f"must be {_either(fitting)} {here}"),
    (
      "label_noise",
      unlabelled and c.label_noise > 0,
      f"must be 0 {here}, which has no class labels",
    ),
    (
      "label_smoothing",
      unlabelled and c.label_smoothing > 0,
      f"must be 0 {here}, which has no class labels",
    ),
    (
      "label_smoothing",
      binary and c.loss == "squared_error" and c.label_smoothing > 0,
      f"must be 0 with config.loss='squared_error' and"
      f" config.dataset={c.dataset!r}",
    ),
    (
      "label_smoothing",
      c.loss == "logistic" and c.label_smoothing >= 0.5,
      "must be < 0.5 with config.loss='logistic', where the label is to stay"
      " the likelier class",
    ),
    (
      "step_label_noise",
      c.step_label_noise > 0 and not (binary or regression or unknown),
      f"must be 0 {here}, which has an output for each class",
    ),
    (
      "step_label_noise",
      c.step_label_noise >= 0.5 and c.loss == "logistic",
      "must be < 0.5 with config.loss='logistic', where it is a probability of"
      " flips",
    ),
  ]


def _models(c: ml_collections.ConfigDict) -> list[Rule]:
  here = f"with config.dataset={c.dataset!r}"
  two_layer = c.model == "two_layer"
  not_two_layer = (
    f"with config.model={c.model!r}; it needs config.model='two_layer'"
  )
  sim_bn = c.normalization == "sim_bn"
  fitting = kinds.models_for(c.dataset)
  own = kinds.is_own_model(c.model)
  return [
    (
      "model",
      c.model not in fitting and not (own and c.dataset not in kinds.GAMES),
      f"must be {_either(fitting)} {here}",
    ),
    ("model_args", not model_args.is_valid(c.model_args), model_args.ALLOWED),
    (
      "num_neurons",
      two_layer and len(c.num_neurons) != 1,
      "must have one entry, such as \"(100,)\", with config.model='two_layer',"
      " which has one hidden layer",
    ),
    (
      "first_layer_norm",
      c.first_layer_norm > 0 and not two_layer,
      f"must be 0 {not_two_layer}",
    ),
    (
      "normalization",
      c.normalization != "none" and not two_layer,
      f"must be 'none' {not_two_layer}",
    ),
    (
      "init_from",
      sim_bn and c.init_from != "",
      "must be '' with config.normalization='sim_bn', which keeps a run's own"
      " training set",
    ),
    (
      "normalization",
      sim_bn and c.dataset in kinds.STREAMED_DATASETS,
      f"must be another {here}, whose training set is streamed",
    ),
    (
      "hidden_size",
      c.model in kinds.ATTENTION_MODELS
      and c.hidden_size > c.head_size
      and c.hidden_size % c.head_size > 0,
      f"must be a multiple of config.head_size={c.head_size}, or smaller",
    ),
  ]


def _lazy_training(c: ml_collections.ConfigDict) -> list[Rule]:
  lazy = c.lazy_alpha > 0
  return [
    (
      "lazy_alpha",
      lazy and c.loss != "squared_error",
      f"must be 0 with config.loss={c.loss!r}; lazy training needs"
      " config.loss='squared_error'",
    ),
    (
      "lazy_alpha",
      lazy and c.dataset not in kinds.MAYBE_IMAGE_DATASETS,
      f"must be 0 with config.dataset={c.dataset!r}, which has no images",
    ),
    (
      "lazy_alpha",
      lazy and c.model in kinds.RESNETS,
      f"must be 0 with config.model={c.model!r}, whose BatchNorm does not keep"
      " the outputs of the initial weights",
    ),
    (
      "lazy_alpha",
      lazy and kinds.is_own_model(c.model),
      "must be 0 with a model of your own, which may have BatchNorm",
    ),
    (
      "init_from",
      lazy and c.init_from != "",
      f"must be '' with config.lazy_alpha={c.lazy_alpha}, which needs the"
      " outputs of a run's own initial weights",
    ),
  ]


def _examples(c: ml_collections.ConfigDict) -> list[Rule]:
  here = f"with config.dataset={c.dataset!r}"
  streamed = c.dataset in kinds.STREAMED_DATASETS
  held_out = c.validation_fraction > 0
  return [
    (
      "data_file",
      c.dataset in kinds.FILE_DATASETS and c.data_file == "",
      f"must be a file of arrays (.npz) {here}",
    ),
    (
      "augment",
      c.dataset not in kinds.MAYBE_IMAGE_DATASETS and c.augment,
      f"must be False {here}, which has no images",
    ),
    (
      "bucket_batches",
      c.bucket_batches > 0 and c.dataset not in kinds.PADDED_DATASETS,
      f"must be 0 {here}, whose examples have one size",
    ),
    (
      "validation_fraction",
      held_out and streamed,
      f"must be 0 {here}, whose training set is streamed",
    ),
    (
      "train_fraction",
      streamed and c.train_fraction < 1,
      f"must be 1 {here}, whose training set is streamed",
    ),
    (
      "validation_fraction",
      held_out and c.dataset == "ogbg_molpcba",
      f"must be 0 {here}, which has a validation split of its own",
    ),
    (
      "validation_fraction",
      held_out and c.dataset in kinds.GAMES,
      f"must be 0 {here}, which has no examples to hold out",
    ),
  ]


def _measurements(c: ml_collections.ConfigDict) -> list[Rule]:
  here = f"with config.dataset={c.dataset!r}"
  measured = c.sharpness_every_epochs > 0
  return [
    (
      "steps_per_eval",
      c.steps_per_eval == 0,
      "must be an integer >= 1, or -1 for all",
    ),
    (
      "sharpness_num_examples",
      measured
      and c.sharpness_num_examples == 0
      and c.dataset in kinds.STREAMED_DATASETS,
      f"must be >= 1 {here}, whose training set is streamed",
    ),
    (
      "sharpness_every_epochs",
      measured and c.dataset in kinds.GAMES,
      f"must be 0 {here}, whose examples change; sharpness_report.py measures"
      " its runs",
    ),
  ]


def _sweeps(c: ml_collections.ConfigDict) -> list[Rule]:
  arrays = c.dataset not in (*kinds.STREAMED_DATASETS, *kinds.GAMES)
  lists = sweep.swept(c)
  unread = next((n for n in lists if not reading.is_read(f"sweep.{n}", c)), "")
  return [
    (
      f"sweep.{unread}",
      unread != "",
      f"must be () with config.optimizer={c.optimizer!r}, which does not read"
      " it",
    ),
    (
      "sweep_mode",
      c.sweep_mode == "vmap" and not arrays,
      f"must be 'loop' or 'auto' with config.dataset={c.dataset!r}, whose"
      " training set is no array",
    ),
  ]
