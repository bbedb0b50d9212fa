"""Fields that contradict each other are refused."""

from typing import Any

import pytest

from configs import base
from configs import check
from tests import entrance

TEACHER = {"dataset": "teacher_student", "loss": "squared_error"}
SIGNS = {"dataset": "signal_noise", "loss": "squared_error"}
GAME = {"dataset": "breakout", "model": "actor_critic", "loss": "ppo"}
SIM_BN = {
  "normalization": "sim_bn",
  "model": "two_layer",
  "num_neurons": (3,),
}
# One case a rule, in the order of the rules: the wrong field and its value, the
# other fields, and what the line says is allowed.
CONTRADICTIONS: list[tuple[str, Any, dict[str, Any], str]] = [
  ("rho", 0.0, {}, "must be > 0 with config.optimizer='sam'"),
  ("sam_end", 0.5, {"sam_begin": 0.5}, "must be > config.sam_begin=0.5"),
  (
    "microbatch_size",
    32,
    {"sync_perturbation": True},
    "excludes config.sync_perturbation=True",
  ),
  ("microbatch_size", 256, {}, "must be <= config.batch_size=128"),
  ("perturb_except", "a", {"perturb_only": "b"}, "must be '' with"),
  (
    "gradient_accumulation",
    2,
    {"microbatch_size": 32},
    "must be 1 with config.microbatch_size=32",
  ),
  ("ascent_steps", 2, {"perturbation": "unnormalized"}, "must be 1"),
  ("sparsity", 0.5, {}, "one of 'random', 'magnitude', 'snip'"),
  (
    "pruner",
    "snip",
    {**GAME, "sparsity": 0.5},
    "must be 'random' or 'magnitude' with config.dataset='breakout'",
  ),
  (
    "stage_starts",
    (0.5, 0.25),
    {"stage_lr_factors": (2.0, 1.0), "stage_rho_factors": (2.0, 1.0)},
    "must ascend",
  ),
  ("stage_lr_factors", (2.0,), {}, "for each of config.stage_starts=()"),
  (
    "stage_rho_factors",
    (),
    {"stage_starts": (0.5,), "stage_lr_factors": (2.0,)},
    "for each of config.stage_starts=(0.5,)",
  ),
  ("num_train_steps", 0, {}, ">= 1, or -1"),
  ("nesterov", True, {"momentum": 0.0}, "must be False with config.momentum=0"),
  ("warmup_steps", 0, {"lr_scheduler": "inverse_sqrt"}, "must be >= 1"),
  ("weight_decay_form", "sst2_example", {}, "must be 'coupled' with"),
  (
    "loss",
    "cross_entropy",
    {"dataset": "teacher_student"},
    "must be 'squared_error' with config.dataset='teacher_student'",
  ),
  ("label_noise", 0.5, TEACHER, "must be 0"),
  ("label_smoothing", 0.1, TEACHER, "must be 0"),
  ("label_smoothing", 0.1, SIGNS, "must be 0"),
  (
    "label_smoothing",
    0.5,
    {"dataset": "signal_noise", "loss": "logistic"},
    "must be < 0.5",
  ),
  ("step_label_noise", 0.1, {}, "must be 0 with config.dataset='digits'"),
  (
    "step_label_noise",
    0.5,
    {"dataset": "xor", "loss": "logistic"},
    "must be < 0.5 with config.loss='logistic'",
  ),
  ("model", "vgg11", TEACHER, "must be 'mlp' or 'two_layer' with"),
  ("model_args", "8", {}, "must be keywords with constants"),
  ("num_neurons", (3, 2), {"model": "two_layer"}, "must have one entry"),
  ("first_layer_norm", 10.0, {}, "must be 0 with config.model='mlp'"),
  ("normalization", "sim_ln", {}, "must be 'none' with config.model='mlp'"),
  (
    "init_from",
    "run",
    SIM_BN,
    "must be '' with config.normalization='sim_bn'",
  ),
  (
    "normalization",
    "sim_bn",
    {**SIM_BN, "dataset": "imagenet2012"},
    "must be another with config.dataset='imagenet2012'",
  ),
  (
    "hidden_size",
    100,
    {"model": "vit"},
    "must be a multiple of config.head_size=32, or smaller",
  ),
  ("lazy_alpha", 1.0, {}, "must be 0 with config.loss='cross_entropy'"),
  ("lazy_alpha", 1.0, TEACHER, "must be 0 with config.dataset="),
  (
    "lazy_alpha",
    1.0,
    {"loss": "squared_error", "model": "resnet18"},
    "must be 0 with config.model='resnet18'",
  ),
  (
    "lazy_alpha",
    1.0,
    {"loss": "squared_error", "model": "/x.py:Net"},
    "must be 0 with a model of your own",
  ),
  (
    "init_from",
    "run",
    {"loss": "squared_error", "lazy_alpha": 1.0},
    "must be '' with config.lazy_alpha=1.0",
  ),
  ("data_file", "", {"dataset": "npz"}, "must be a file of arrays (.npz) with"),
  ("augment", True, TEACHER, "must be False"),
  ("bucket_batches", 1, {}, "must be 0 with config.dataset='digits'"),
  ("validation_fraction", 0.1, {"dataset": "imagenet2012"}, "must be 0"),
  ("train_fraction", 0.5, {"dataset": "imagenet2012"}, "must be 1 with"),
  (
    "validation_fraction",
    0.1,
    {"dataset": "ogbg_molpcba", "model": "gcn", "loss": "binary_cross_entropy"},
    "must be 0 with config.dataset='ogbg_molpcba'",
  ),
  ("validation_fraction", 0.1, GAME, "must be 0 with config.dataset='breakout"),
  ("steps_per_eval", 0, {}, ">= 1, or -1"),
  (
    "sharpness_num_examples",
    0,
    {"dataset": "imagenet2012", "sharpness_every_epochs": 1},
    "must be >= 1",
  ),
  ("sharpness_every_epochs", 1, GAME, "sharpness_report.py measures its runs"),
  (
    "sweep.rho",
    (0.1, 0.2),
    {"optimizer": "adam"},
    "must be () with config.opt",
  ),
  ("sweep_mode", "vmap", {"dataset": "imagenet2012"}, "'loop' or 'auto'"),
]
CONTRADICTION_IDS = [f"{name}={value}" for name, value, _, _ in CONTRADICTIONS]


def test_every_contradiction_has_its_case():
  num_rules = len(list(check.contradictions(base.get_config())))
  broken = []
  for name, value, others, _ in CONTRADICTIONS:
    config = base.get_config()
    config.update_from_flattened_dict({name: value, **others})
    rules = enumerate(check.contradictions(config))
    broken.append([i for i, (_, wrong, _) in rules if wrong])
  assert broken == [[i] for i in range(num_rules)]


@pytest.mark.parametrize(
  ("name", "value", "others", "allowed"), CONTRADICTIONS, ids=CONTRADICTION_IDS
)
def test_contradiction(refused, name, value, others, allowed):
  flags = {name: value, **others}
  line = refused(
    entrance.BASE, *(f"--config.{k}={v}" for k, v in flags.items())
  )
  assert line.startswith(f"config.{name}={value!r}: ")
  assert allowed in line
