"""Graphs with several labels, through all that a run can do."""

import json

import pytest

from analysis import restored
from data import motifs
from run_folder import files
from tests import helpers
import train


def test_everything_works_on_graphs(tmp_path, monkeypatch):
  """Masks, noise, a vmapped sweep, measures of what it leaves."""
  monkeypatch.setattr(motifs, "NUM_TRAIN", 64)
  monkeypatch.setattr(motifs, "NUM_TEST", 20)
  c = helpers.config(
    dataset="motifs",
    model="gcn",
    loss="binary_cross_entropy",
    hidden_size=6,
    message_passing_steps=1,
    dropout=0.1,
    optimizer="sgd",
    sparsity=0.5,
    pruner="random",
    batch_size=16,
    eval_batch_size=16,
    num_epochs=2,
    steps_per_call=1,
    data_seed=-1,
    learning_rate=0.01,
    devices_per_run=2,
  )
  c.sweep.seed, c.sweep.label_noise = (0, 1), (0.0, 0.2)
  train.train_and_evaluate(c, str(tmp_path))
  result = json.loads((tmp_path / files.RESULT).read_text())
  assert [run["status"] for run in result["runs"]] == ["finished"] * 4
  lines = files.read_lines(tmp_path)
  for run, record in zip(restored.load(tmp_path), result["runs"], strict=True):
    precisions = [
      line["test_average_precision"]
      for line in lines
      if line["run"] == record["run"]
    ]
    assert len(precisions) == 2
    assert record["best_test_average_precision"] == max(precisions)
    assert record["best"]["chosen_by"] == "test_average_precision"
    assert record["best"]["test_average_precision"] == max(precisions)
    objective = run.objective(split="test")
    assert objective.dim == record["num_unpruned_parameters"]
    assert objective.dim < 0.8 * record["num_parameters"]
  dataset = run.setup.datasets[run.index]
  num_labels = (dataset.splits["test"].targets >= 0).sum()
  # The loss of the last run, measured and evaluated.
  value = float(objective.value(objective.weights)) * 20
  want = record["final"]["test_loss"] * num_labels / dataset.labels_per_example
  assert value == pytest.approx(want, rel=1e-5)
