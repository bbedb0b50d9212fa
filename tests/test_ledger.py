"""The ledger: our values beside those of the paper, worked out by hand."""

import dataclasses
import json
import math

import pandas as pd
import pytest

from scripts import claims
from scripts import ledger
from scripts import pages
from studies.kit import reference

SOURCE = ledger.Source("7", "mlp_mnist", "width-desktop-mlp_mnist")


@pytest.fixture
def runs():
  """Two seeds of two sizes, in percent: rho 0.1 is the best on the test set."""
  accuracies = {0.0: (97.0, 98.0), 0.05: (98.0, 98.2), 0.1: (98.4, 98.6)}
  return pd.DataFrame(
    {
      "workload": "mlp_mnist",
      "num_parameters": size,
      "rho": rho,
      "seed": seed,
      "label_noise": 0.0,
      "status": "finished",
      "best_test_accuracy": (accuracy - worse) / 100,
    }
    for size, worse in ((61_035, 0), (125_810, 5))
    for rho, values in accuracies.items()
    for seed, accuracy in enumerate(values)
  )


def row(**stated):
  names = ("rho", "label_noise", "weight_decay", "alpha", "sparsity", "stderr")
  missing = dict.fromkeys(names, math.nan)
  about = {"workload": "mlp_mnist", "params": 61_035.0, "size": "75-25"}
  about |= {"metric": "test_accuracy", "optimizer": "sam", "value": 98.0}
  return pd.Series({**missing, **about, **stated})


@pytest.mark.parametrize(
  ("stated", "mean", "stderr"),
  [
    ({"optimizer": "sgd"}, 97.5, 0.5),
    ({"optimizer": "sam"}, 98.5, 0.1),
    ({"optimizer": "sam", "rho": 0.05}, 98.1, 0.1),
    # Gains of 1.4 and 0.6.
    ({"optimizer": "sam_minus_sgd"}, 1.0, 0.4),
    ({"optimizer": "sam", "metric": "optimal_rho"}, 0.1, math.nan),
    ({"optimizer": "sgd", "params": 125_810.0}, 92.5, 0.5),
  ],
)
def test_ours_is_by_the_papers_protocol(runs, stated, mean, stderr):
  found = ledger.ours(row(**stated), runs, SOURCE)
  assert found.n == 2
  assert found.mean == pytest.approx(mean)
  assert found.stderr == pytest.approx(stderr, nan_ok=True)


def test_what_is_tuned_beside_rho_is_tuned_for_both(runs):
  """A lower learning rate is worse by half a point, a higher one by five."""
  runs = pd.concat(
    runs.assign(
      learning_rate=rate,
      best_test_accuracy=runs["best_test_accuracy"] - worse / 100,
    )
    for rate, worse in ((0.01, 0.5), (0.1, 0.0), (1.0, 5.0))
  )
  source = dataclasses.replace(SOURCE, tuned=("rho", "learning_rate"))
  for optimizer, mean in (("sgd", 97.5), ("sam", 98.5), ("sam_minus_sgd", 1.0)):
    found = ledger.ours(row(optimizer=optimizer), runs, source)
    assert (found.n, found.mean) == (2, pytest.approx(mean))


def test_every_source_has_its_command_and_values():
  for source in ledger.SOURCES:
    study, preset, *workload = source.results.split("-")
    command = f"study.py --study=studies/{study}.py --preset={preset}"
    command += f" --workload={source.workload}" if workload else ""
    assert source.command == command
    assert len(reference.load(source.figure, source.workload))


def test_wrong_labels_and_diverged_runs_are_left_out(runs):
  others = [
    runs.assign(label_noise=0.5, best_test_accuracy=0.2),
    runs.assign(seed=2, status="diverged", best_test_accuracy=0.3),
  ]
  found = ledger.ours(row(), pd.concat([runs, *others]), SOURCE)
  assert (found.n, found.mean) == (2, pytest.approx(98.5))
  noisy = ledger.ours(row(label_noise=0.5), pd.concat([runs, *others]), SOURCE)
  assert (noisy.n, noisy.mean) == (2, pytest.approx(20))


def test_sparse_networks_are_told_by_their_sparsity(runs):
  """The paper states the weights that are left, of 125,810 here."""
  dense = runs[runs["num_parameters"] == 61_035].assign(sparsity=0.0)
  sparse = runs[runs["num_parameters"] == 125_810].assign(sparsity=0.516)
  table = pd.concat(
    [
      dense.assign(pruner="none"),
      sparse.assign(pruner="snip"),
      sparse.assign(pruner="random", best_test_accuracy=0.5),
    ]
  )
  for stated, mean in (
    ({"sparsity": 0.0, "pruner": "snip"}, 98.5),
    ({"sparsity": 0.52, "pruner": "snip"}, 93.5),
    ({"sparsity": 0.52, "pruner": "random"}, 50.0),
  ):
    assert ledger.ours(row(**stated), table, SOURCE).mean == pytest.approx(mean)
  assert ledger.ours(row(sparsity=0.77, pruner="snip"), table, SOURCE) is None


def test_what_we_have_not_is_missing(runs):
  for stated in ({"rho": 0.2}, {"params": 5e6}, {"label_noise": 0.5}):
    assert ledger.ours(row(**stated), runs, SOURCE) is None


def test_difference_is_in_standard_errors(runs):
  found = ledger.Value(98.5, 0.3, 3)
  assert ledger.compare(row(stderr=0.4), found) == pytest.approx(1.0)
  assert ledger.compare(row(), found) == pytest.approx(0.5 / 0.3)
  assert math.isnan(ledger.compare(row(), ledger.Value(0.1, math.nan, 3)))


def test_a_part_of_a_study_is_kept_with_its_conditions(
  runs, tmp_path, monkeypatch
):
  """All of one size have one number of parameters."""
  monkeypatch.setattr(claims, "RESULTS", tmp_path / "kept")
  monkeypatch.setattr(pages, "DOCS", tmp_path)
  folder = tmp_path / SOURCE.results
  folder.mkdir()
  (folder / "claim.json").write_text("{}")
  (folder / "figure.png").write_text("a picture")
  small = runs[runs["num_parameters"] == 61_035]
  small.assign(host="one").to_csv(folder / "results.csv", index=False)
  claims.keep(folder)
  assert (tmp_path / f"{SOURCE.results}.png").read_text() == "a picture"
  kept = pd.read_csv(tmp_path / "kept" / f"{SOURCE.results}.csv")
  assert set(kept) == set(runs)
  assert ledger.ours(row(), kept, SOURCE).mean == pytest.approx(98.5)


def test_verdicts_are_told_apart_by_preset(tmp_path, monkeypatch):
  monkeypatch.setattr(claims, "RESULTS", tmp_path)
  claim = {"claim": "it grows", "metric": "loss", "paper": "", "n": 3}
  claim |= {"statistic": "slope", "value": 2.0, "low": 1.0, "high": 3.0}
  claim |= dict.fromkeys(("robust_low", "naive", "p", "p_holm"))
  for name, verdict in (
    ("width-laptop-mlp_digits", "does not hold"),
    ("width-paper-mlp_mnist", "holds"),
    ("depth-desktop", "undecided"),
  ):
    found = {"found": [claim | {"verdict": verdict}]}
    (tmp_path / f"{name}.json").write_text(json.dumps(found))
  text = claims.table("paper", "desktop")
  assert "Of 2 claims 1 hold, 1 are undecided, 0 do not hold" in text
  assert "| `width` paper mlp_mnist | it grows |" in text
  assert "| `depth` desktop | it grows |" in text
  assert "| `width` mlp_digits | it grows |" in claims.table("laptop")
