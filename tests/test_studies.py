"""Every study on made-up results, in which its claim is true or false."""

import copy
import functools
import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from analysis import table as table_lib
from configs import base
from configs import kinds
from configs import reading
from configs import sweep
from run_folder import files
from sam import masks
from studies.kit import findings
import study as study_lib

METRICS = ("final_test", "final_validation", "chosen_test", "best_test")


def load(name):
  return study_lib.load(str(study_lib.STUDIES / f"{name}.py"))


@functools.cache
def load_cells(name, preset):
  return load(name).cells(preset)


def num_parameters(config):
  """Returns the size of a network, roughly that of a ResNet."""
  if config.model in kinds.CONVOLUTIONAL_MODELS:
    return 2700 * config.num_filters**2 * (config.blocks_per_stage or 2)
  if reading.is_read("hidden_size", config):
    return 60 * config.hidden_size**2
  inputs, outputs = {
    "teacher_student": (100, 1),
    "mnist": (784, 10),
    "fashion_mnist": (784, 10),
  }.get(config.dataset, (64, 10))
  layers = [inputs, *config.num_neurons, outputs]
  return sum((a + 1) * b for a, b in itertools.pairwise(layers))


# What the runs `t` of SAM, or of SGD for longer, gain if the claim of a study
# is true (sign 1) or false (-1), at an epoch; `size`: half log2 of parameters.
def gain_by_size(t, size, sign, epoch):
  return sign * 0.01 * size * (0.2 + t["label_noise"])


def gain_by_rho(t, size, sign, epoch):
  best_rho = sign * (size - size.mean()) + math.log(0.08)
  return 0.05 - 0.02 * abs(np.log(t["rho"].clip(1e-9)) - best_rho)


def gain_by_sparsity(t, size, sign, epoch):
  return 0.05 + sign * 0.03 * t["sparsity"]


def gain_by_decay(t, size, sign, epoch):
  without = (t["weight_decay"] == 0) & (sign == 1)
  return 0.01 * size * np.where(without, 0.1, 1)


def gain_of_epochs(t, size, sign, epoch):
  return np.where(t["rho"] > 0, 0.01, 0.01 - sign * 0.005)


def gain_by_epoch(t, size, sign, epoch):
  return 0.01 * size * (0.1 if epoch == "final" and sign == 1 else 1)


def gain_by_microbatch(t, size, sign, epoch):
  return 0.05 - sign * 0.01 * np.log2(t["microbatch_size"].clip(16) / 16)


def gain_by_alpha(t, size, sign, epoch):
  return -sign * 0.01 * np.log10(t["lazy_alpha"]) * (1 + 10 * t["rho"])


def gain_by_window(t, size, sign, epoch):
  side = (t["sam_begin"] == 0) * 1.0 - (t["sam_end"] == 1)
  return 0.05 + sign * 0.01 * side + 0.02 * (t["sam_end"] - t["sam_begin"])


GAINS = {
  "width": gain_by_size,
  "optimal_rho": gain_by_rho,
  "label_noise": gain_by_size,
  "sparsity": gain_by_sparsity,
  "regularization": gain_by_decay,
  "depth": gain_by_size,
  "twice_the_epochs": gain_of_epochs,
  "early_stopping": gain_by_epoch,
  "m_sharpness": gain_by_microbatch,
  "linearized": gain_by_alpha,
  "early_sam": gain_by_window,
}


# What is measured of the runs `t` if the claim of a study is true or false.
def curvature_by_rho(t, size, sign):
  steep = 2 ** (-sign * 10 * t["rho"] * (1 + size)) * (1 + 0.01 * t["seed"])
  training_loss = 0.01 * (1 + t["rho"])
  return {"lambda_max": steep, "s_2": steep, "training_loss": training_loss}


def perturbation_by_size(t, size, sign):
  effect = t["rho"] * 2 ** (-sign * size) * (1 + 0.01 * t["seed"])
  return {
    f"{stage}_{name}": effect
    for stage in ("start", "half", "end", "equal")
    for name in ("change", "perturbation")
  }


def losses_by_size(t, size, sign):
  epochs = np.arange(21)
  rates = 0.1 * 2 ** (sign * 0.5 * size) * (1 + 0.01 * t["seed"])
  losses = [2.0 ** (-rate * epochs) for rate in rates]
  return {
    "rate": rates,
    "excess_rate": rates,
    "straightness": 0.5 + sign * 0.3 + 0.01 * t["seed"],
    "line_over_power": sign * (0.1 + 0.01 * t["seed"]),
    "loss_floor": 0.01,
    "smoothness": 2.0,
    "example_smoothness": 3.0,
    "pl_constant": 0.5,
    "eta_star": 0.001,
    "bound_rate": 0.01,
    "bound_margin": sign * (0.1 + 0.01 * t["seed"]),
    "epochs": [epochs.tolist()] * len(t),
    "train_losses": [x.tolist() for x in losses],
    "bounds": [(2 * x).tolist() for x in losses],
  }


def constants_by_size(t, size, sign):
  constant = 2 ** (-sign * size) * (1 + 0.01 * t["seed"])
  curve = [[x, x / 2] for x in constant]
  return {
    "late_smoothness": constant,
    "late_pl_constant": 1 / constant,
    "late_pl_constant_over_loss": 1 / constant,
    "epochs": [[1, 2]] * len(t),
    "smoothness": curve,
    "pl_constant": curve,
  }


def distance_by_alpha(t, size, sign):
  apart = (1 + 0.1 * t["seed"] + 10 * t["rho"]) / t["lazy_alpha"]
  return {
    "activation_stability": 1 - 0.1 * apart,
    "tangent_distance": apart,
    "weight_change": apart,
  }


def traces_by_network(t, size, sign):
  """Returns runs in which only memorizing networks, or only others, fail."""
  shape = t["shape"]
  sharp = shape.str.endswith("decay")
  fails = shape.str.contains("bias.*-sam") & ~shape.str.contains("no_bias")
  accuracy = np.where(fails == (sign == 1), 0.8, 1) - 1e-3 * t["seed"]
  trace = np.where(sharp == (sign == 1), 80.0, 2.0) + 0.1 * t["seed"]
  return {
    "final_test_accuracy": np.where(
      shape.str.startswith("ball"), math.nan, accuracy
    ),
    "final_test_loss": np.where(fails, 0.2, 0.1) + 0.001 * t["seed"],
    "reach": np.where(
      shape.str.startswith("sim_"),
      math.nan,
      np.where(fails, 0.1, 0.2) + 0.001 * t["seed"],
    ),
    "trace": trace,
    "progress": [[10.0, 20.0, 50.0, 100.0]] * len(t),
    "traces": [[x, x, x, x] for x in trace],
    "scores": [[0.9, 0.9, x, x] for x in accuracy],
  }


MEASURED = {
  "convergence": losses_by_size,
  "flatness_vs_generalization": traces_by_network,
  "hessian": curvature_by_rho,
  "linearized": distance_by_alpha,
  "perturbation_size": perturbation_by_size,
  "smoothness": constants_by_size,
}
PRESETS = [
  (name, preset)
  for name in dict.fromkeys((*GAINS, *MEASURED, "two_layer_error"))
  for preset in ("laptop", "paper", "desktop")
  if preset in load(name).presets
]


def write_result(folder, config):
  """Writes the files of a finished run folder, without metrics."""
  folder.mkdir()
  config_json = json.dumps({"config": files.to_json(config)})
  (folder / files.CONFIG).write_text(config_json)
  facts = {
    "run": "",
    "status": "finished",
    "num_parameters": num_parameters(config),
    "num_unpruned_parameters": num_parameters(config),
    "num_steps": 1,
    "wall_time_seconds": 1.0,
    "device": "cpu",
    "final": {},
    "best": {},
  }
  num_runs = math.prod(map(len, sweep.swept(config).values()))
  (folder / files.RESULT).write_text(json.dumps({"runs": num_runs * [facts]}))


@pytest.fixture
def table(tmp_path):
  """Returns what makes the runs of a study, fewer of them, without metrics."""

  def make(name, preset):
    tables = []
    for cell in load_cells(name, preset):
      config = copy.deepcopy(cell.config)
      config.sweep.seed = (0, 1, 2)
      # The best of few rho may be the same for every size.
      if len(config.sweep.rho) > 3 and name != "optimal_rho":
        config.sweep.rho = tuple(config.sweep.rho)[::2]
      folder = tmp_path / cell.name
      write_result(folder, config)
      tables.append(table_lib.read_frame([folder]).assign(**cell.labels))
    return pd.concat(tables, ignore_index=True)

  return make


def with_metrics(runs, name, sign):
  """Returns the runs with metrics in which the claim is true or false."""
  rng = np.random.default_rng(0)
  size = np.log2(runs["num_parameters"] / 1000) / 2
  epochs = runs.groupby("workload")["num_epochs"].transform("min")
  is_base = (runs["rho"] == 0) & (runs["num_epochs"] == epochs)
  is_loss = runs["metric"].str.endswith("loss")
  columns = {}
  for metric in METRICS:
    gain = GAINS.get(name, gain_by_size)
    gains = gain(runs, size, sign, metric.partition("_")[0])
    score = 0.5 + 0.01 * runs["seed"] + rng.normal(0, 1e-4, len(runs))
    score += np.where(is_base, 0, gains)
    columns[f"{metric}_accuracy"] = score.where(~is_loss)
    columns[f"{metric}_average_precision"] = score.where(~is_loss)
    columns[f"{metric}_score"] = score.where(~is_loss)
    columns[f"{metric}_loss"] = (1 - score).where(is_loss)
  for kind in ("score", "accuracy", "average_precision", "loss"):
    columns[f"chosen_validation_{kind}"] = columns[f"chosen_test_{kind}"]
  fit = 0.9 - sign * (0.2 * runs["sparsity"] + 10 * runs["weight_decay"])
  columns["final_train_accuracy"] = fit + rng.normal(0, 1e-4, len(runs))
  if name in MEASURED:
    columns |= MEASURED[name](runs, size, sign)
  return runs.assign(**columns)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_cells_are_valid(name, preset):
  cells = load_cells(name, preset)
  assert len({cell.name for cell in cells}) == len(cells)
  for cell in cells:
    base.check(cell.config)
    num_seeds = len(cell.config.sweep.seed)
    if preset == "laptop":
      generated = (
        *kinds.REGRESSION_DATASETS,
        *kinds.BINARY_DATASETS,
        *("hidden_markov", "lexicon", "motifs"),
      )
      assert cell.config.dataset in ("digits", *generated)
      # Where nothing is chosen.
      is_fit = cell.config.dataset in ("matrix_factorization", "xor", "ball")
      assert (cell.config.validation_fraction == 0) == is_fit
      assert cell.config.data_seed == -1
      is_main = name in GAINS and cell.labels["workload"] == "mlp_digits"
      assert num_seeds >= (10 if is_main else 3)
    else:
      # Where rho is chosen.
      holds_out = preset == "desktop" and name in GAINS
      assert (cell.config.validation_fraction > 0) == holds_out
      assert num_seeds >= 3


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_claim_and_figure(name, preset, table):
  study = load(name)
  runs = table(name, preset)
  results = with_metrics(runs, name, 1)
  first, *_ = found = study.claims(results)
  assert first["verdict"] == "holds"
  json.dumps(found, allow_nan=False)
  for ax in study.figure(results).axes:
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_legend()
  if preset == "laptop":
    if runs["label_noise"].any():
      rate = 50 if name == "label_noise" else 25
      assert f"{rate} % label noise" in first["claim"]
    false = study.claims(with_metrics(runs, name, -1))
    assert false[0]["verdict"] == "does not hold"
    for records_, verdict in ((found, "holds"), (false, "does not hold")):
      reasons = [r for r in records_ if r["metric"] == "final_train_accuracy"]
      assert bool(reasons) == (name in ("sparsity", "regularization"))
      assert all(reason["verdict"] == verdict for reason in reasons)


@pytest.mark.parametrize("name", [*GAINS, *MEASURED])
def test_of_what_little_there_is_a_study_has_claims_and_a_figure(name, table):
  """One size, as `--shape` may choose it; or a seed, or rho, that diverged."""
  study = load(name)
  results = with_metrics(table(name, "laptop"), name, 1)
  _, one = next(iter(results.groupby("shape", sort=False)))
  is_sam = results["rho"] > 0
  noisy = results["label_noise"] == results["label_noise"].max()
  few = [
    one,
    *(
      results.assign(status=results["status"].mask(fails, "diverged"))
      for fails in (
        is_sam & (results["seed"] == 0),
        results["rho"] == results["rho"].max(),
        is_sam & noisy & (results["workload"] == results["workload"].iloc[0]),
      )
    ),
  ]
  for runs in few:
    json.dumps(study.claims(runs), allow_nan=False)
    assert study.figure(runs).axes
  for _, runs in results.groupby("shape"):
    # Without what is measured of other shapes alone.
    json.dumps(study.claims(runs.dropna(axis=1, how="all")), allow_nan=False)


@pytest.mark.parametrize("name", ["convergence", "regularization", "width"])
def test_claims_of_each_workload_alone(name, table):
  """As `--workload=` may choose it; together they are those of all of them."""
  study = load(name)
  results = with_metrics(table(name, "laptop"), name, 1)
  texts = [claim["claim"] for claim in study.claims(results)]
  alone = [study.claims(runs) for _, runs in results.groupby("workload")]
  # A ViT is then compared with no ResNet.
  found = {claim["claim"].split(" as that of")[0] for f in alone for claim in f}
  assert found == {text.split(" as that of")[0] for text in texts}
  for workload, runs in results.groupby("workload"):
    if workload in ("mlp_digits", "vit_digits"):
      assert study.figure(runs).axes


@pytest.mark.parametrize(
  ("of_vit", "of_resnet", "verdict"),
  [(0, 1, "holds"), (1, 1, "does not hold"), (1, None, "does not hold")],
)
def test_vits_are_compared_with_resnets(table, of_vit, of_resnet, verdict):
  """Their gains grow by so much; None: there is no ResNet to compare with."""
  growth = {"vit_digits": of_vit - 0.1, "resnet_digits": of_resnet}
  runs = table("regularization", "laptop")
  runs = runs[runs["workload"].map(growth).notna()]
  with_growth = with_metrics(runs, "width", runs["workload"].map(growth))
  records_ = findings.no_growth_without_bias(with_growth)
  assert [r["metric"] for r in records_] == [
    "final_test_accuracy",
    "best_test_accuracy",
  ]
  assert {r["verdict"] for r in records_} == {verdict}
  text = "does not grow as that of ResNet-18 on digits"
  assert (text in records_[0]["claim"]) == (of_resnet is not None)
  assert "Figure 16c, ViT on CIFAR-10" in records_[0]["paper"]


@pytest.mark.parametrize("grows", [False, True])
def test_tagging_is_compared_with_early_stopping(table, grows):
  runs = table("regularization", "laptop")
  runs = runs[runs["workload"] == "transformer_hmm"]
  name = "width" if grows else "early_stopping"
  first, *_ = load("regularization").claims(with_metrics(runs, name, 1))
  assert first["metric"] == "final_test_accuracy against chosen_test_accuracy"
  assert first["verdict"] == ("does not hold" if grows else "holds")
  assert first["paper"].startswith("Figure 16b")


def test_every_module_is_a_study():
  for path in study_lib.STUDIES.glob("[!_]*.py"):
    study = study_lib.load(str(path))
    assert {"laptop", "paper"} <= set(study.presets), path
    assert not study.measure or study.measure.seconds > 0, path
    assert (study.compute is None) == (study.compute_seconds == 0), path


def test_sparse_networks_have_the_weights_of_the_dense_one():
  cells = load_cells("sparsity", "laptop")
  assert [c.config.pruner for c in cells] == ["none", *2 * ["snip", "random"]]
  for cell in cells:
    layers = [64, *cell.config.num_neurons, 10]
    kernels = [math.prod(shape) for shape in itertools.pairwise(layers)]
    by_layer = cell.config.pruner == "random"
    scopes = kernels if by_layer else [sum(kernels)]
    pruned = sum(masks.num_pruned(cell.config.sparsity, n) for n in scopes)
    left = num_parameters(cell.config) - pruned
    assert abs(left - num_parameters(cells[0].config)) <= 2


def test_sparsities_are_those_of_the_paper():
  found = {
    workload: sorted(
      {
        round(cell.config.sparsity, 2)
        for cell in load_cells("sparsity", "paper")
        if cell.labels["workload"] == workload
      }
    )
    for workload in ("resnet_cifar", "mlp_mnist")
  }
  assert found == {
    "resnet_cifar": [0, 0.56, 0.75, 0.94],
    "mlp_mnist": [0, 0.52, 0.77, 0.96],
  }
