"""Writes the ledger of what is reproduced: `python -m scripts.ledger`.

Sets each value of the paper that was read off its figures beside ours, from the
tables that are kept in studies/results/ (see scripts/claims.py), and writes the
tables of docs/reproduction.md. Ours are by the paper's protocol: the best test
epoch, and the rho that is best on the test set, the same for all seeds.

A difference is in standard errors: of ours over seeds and, where the figure
shows it, of the paper's. Without a standard error on either side, as of a best
rho, there is none.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

from collections.abc import Iterator
import dataclasses
import math

import pandas as pd

from analysis import selection
from analysis import table as table_lib
from scripts import claims
from scripts import pages
from studies.kit import reference

PAGE = pages.DOCS / "reproduction.md"
AGREE = 2.0  # Standard errors.
SIZE = "num_parameters"
_BEST = {
  "test_accuracy": "best_test_accuracy",
  "validation_accuracy": "best_test_accuracy",  # Of what is held out.
  "mean_average_precision": "best_test_average_precision",
  "score": "best_test_score",
}
# The columns of the paper's values that tell runs apart, and those of ours.
_CONDITIONS = {
  "params": SIZE,
  "label_noise": "label_noise",
  "weight_decay": "weight_decay",
  "alpha": "lazy_alpha",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """Which of our results stand beside a figure.

  Attributes:
    figure: number of the paper's.
    workload: of the figure.
    results: name of the study's table, without '.csv'.
    changed: what differs from the paper's setting, beside its seeds.
    metrics: column of ours, by the paper's metric, where it is no best epoch.
    tuned: columns whose values are the best on the test set, for each size.
  """

  figure: str
  workload: str
  results: str
  changed: str = ""
  metrics: dict[str, str] = dataclasses.field(default_factory=dict)
  tuned: tuple[str, ...] = ("rho",)

  @property
  def command(self) -> str:
    """What makes the results."""
    study, preset, *workloads = self.results.split("-")
    flags = [f"--study=studies/{study}.py", f"--preset={preset}"]
    flags += [f"--workload={workload}" for workload in workloads]
    return " ".join(["study.py", *flags])


_HELD_OUT = "5,000 of 60,000 images are held out"
_LOSS = {"test_loss": "best_test_loss"}
SOURCES = [
  Source("7", "mlp_mnist", "width-desktop-mlp_mnist", _HELD_OUT),
  Source("8", "mlp_mnist", "optimal_rho-desktop", _HELD_OUT),
  Source("14a", "mlp_mnist", "sparsity-desktop", _HELD_OUT),
  Source("14b", "mlp_mnist", "sparsity-desktop", _HELD_OUT),
  Source(
    "17", "mlp_mnist", "depth-desktop", f"{_HELD_OUT}; 50 epochs; rho 0.1, 0.2"
  ),
  Source(
    "6c",
    "mlp_mnist",
    "convergence-desktop",
    "SAM is not normalized, no momentum or decay; rho and learning rate are not"
    " stated",
    {"final_train_loss": "train_loss"},
  ),
  Source(
    "6c",
    "matrix_factorization",
    "convergence-paper-matrix_factorization",
    "rho 0.01 or 1e-5; rho, batch and the scale of the matrix are not stated",
    {
      "initial_train_loss": "initial_train_loss",
      "final_train_loss": "train_loss",
    },
  ),
  Source(
    "7",
    "lstm_sst2",
    "width-desktop-lstm_sst2",
    "5,000 of 67,349 phrases are held out; rho 0.02, 0.05, 0.1",
  ),
  Source(
    "7",
    "mlp_teacher_student",
    "width-paper-mlp_teacher_student",
    "gradients are clipped; the scale of the teacher is not stated",
    _LOSS,
  ),
  Source(
    "22",
    "two_layer_trigonometric",
    "two_layer_error-paper",
    "the final epoch",
    metrics={"test_error": "final_test_loss"},
    tuned=("rho", "learning_rate"),
  ),
  Source(
    "7",
    "resnet_cifar",
    "label_noise-desktop-resnet_cifar",
    "JPEG copy of the images, a part of them, fewer epochs; rho 0.1, 0.2",
  ),
  Source(
    "12",
    "resnet_cifar",
    "label_noise-desktop-resnet_cifar",
    "JPEG copy of the images, a part of them, fewer epochs; rho 0.1, 0.2; the"
    " final epoch, as the paper's values seem to be",
    {"test_accuracy": "final_test_accuracy"},
  ),
]
# What a figure lacks that has no source.
NEEDS = {
  "resnet_imagenet": "ImageNet, and GPUs",
  "resnet_cifar": "GPUs: hours a run on this CPU",
  "vgg_cifar": "GPUs",
  "vit_cifar": "GPUs",
  "transformer_pos": "the training part of the treebank, and GPUs",
  "lstm_sst2": "GPUs, for the larger sizes",
  "gcn_molpcba": "ogbg-molpcba, and GPUs",
  "ppo_breakout": "10 million actions a run",
  "mlp_mnist": "more hours of this CPU",
  "mlp_teacher_student": "more hours of this CPU",
  "matrix_factorization": "more hours of this CPU",
  "two_layer_trigonometric": "more hours of this CPU",
}


@dataclasses.dataclass(frozen=True)
class Value:
  """A mean over seeds, with its standard error; NaN if there is none."""

  mean: float
  stderr: float
  n: int


def _over_seeds(values: pd.Series) -> Value:
  stderr = float(values.sem()) if len(values) > 1 else math.nan
  return Value(float(values.mean()), stderr, len(values))


def select(row: pd.Series, runs: pd.DataFrame) -> pd.DataFrame:
  """Returns the runs in the conditions of a value of the paper.

  Without a label noise, its labels are right. Of a sparse network the paper
  counts the weights that are left: there the sparsity tells it from others.
  """
  wanted = {ours: row[theirs] for theirs, ours in _CONDITIONS.items()}
  if pd.isna(row["label_noise"]):
    wanted["label_noise"] = 0.0
  if row["sparsity"] > 0:
    del wanted[SIZE]
  for name, value in wanted.items():
    if pd.notna(value):
      if name not in runs:
        return runs[:0]
      runs = runs[(runs[name] - value).abs() <= 0.01 * abs(value)]
  if pd.notna(row["sparsity"]):
    near = (runs["sparsity"] - row["sparsity"]).abs() <= 0.01
    is_dense = row["sparsity"] == 0
    runs = runs[near & (is_dense | (runs["pruner"] == row["pruner"]))]
  return runs


def ours(row: pd.Series, runs: pd.DataFrame, source: Source) -> Value | None:
  """Returns our value beside one of the paper, if the runs have it.

  Args:
    row: of reference_values.csv.
    runs: a table of `claims.keep`.
    source: of the table.
  """
  runs = runs[runs["workload"] == row["workload"]]
  runs = select(row, runs[runs["status"] == "finished"])
  kind = row["metric"].removesuffix("_improvement")
  metric = source.metrics.get(kind, _BEST.get(kind, "best_test_accuracy"))
  if metric not in runs or runs[metric].dropna().empty:
    return None
  runs = runs.dropna(subset=metric)
  base, sam = runs[runs["rho"] == 0], runs[runs["rho"] > 0]
  scale = selection.scale(metric)
  if pd.notna(row["rho"]):
    at = runs[(runs["rho"] - row["rho"]).abs() < 1e-9]
    return _over_seeds(scale * at[metric]) if len(at) else None
  tuned = list(source.tuned)
  if row["optimizer"] != "sam" and "_minus_" not in row["optimizer"]:
    of_base = [name for name in tuned if name != "rho"]
    if of_base:
      base = selection.at_best(base, ["workload"], of_base, metric, metric)
    return _over_seeds(scale * base[metric]) if len(base) else None
  best = selection.at_best(sam, ["workload"], tuned, metric, metric)
  if best.empty:
    return None
  if row["metric"] == "optimal_rho":
    return Value(float(best["rho"].iloc[0]), math.nan, len(best))
  if row["optimizer"] == "sam":
    return _over_seeds(scale * best[metric])
  gains = selection.gains(runs, ["workload"], metric, metric, tuned)
  return _over_seeds(gains["naive"])


def compare(row: pd.Series, found: Value) -> float:
  """Returns ours less the paper's, in standard errors; NaN without these."""
  theirs = row["stderr"] if pd.notna(row["stderr"]) else 0.0
  if not found.stderr > 0:
    return math.nan
  return (found.mean - row["value"]) / math.hypot(found.stderr, theirs)


def entries() -> Iterator[tuple[pd.Series, Source | None, Value | None]]:
  """Yields each value of the paper, its source and our value."""
  tables: dict[str, pd.DataFrame] = {}
  for _, row in reference.values().iterrows():
    at = row["figure"], row["workload"]
    source = next((s for s in SOURCES if (s.figure, s.workload) == at), None)
    if source is None:
      yield row, None, None
      continue
    path = claims.RESULTS / f"{source.results}.csv"
    if source.results not in tables and path.exists():
      tables[source.results] = table_lib.read_csv(path)
    runs = tables.get(source.results)
    yield row, source, None if runs is None else ours(row, runs, source)


def _line(row: pd.Series, found: Value) -> list[str]:
  at = [
    f"{name} {row[column]:.4g}"
    for column, name in (
      ("rho", "rho"),
      ("label_noise", "label noise"),
      ("sparsity", "sparsity"),
      ("weight_decay", "weight decay"),
    )
    if pd.notna(row[column])
  ]
  error = f" ± {row['stderr']:.2g}" if pd.notna(row["stderr"]) else ""
  own = f" ± {found.stderr:.2g}" if found.stderr > 0 else ""
  apart = compare(row, found)
  return [
    " ".join([str(row["size"]), *at]),
    f"{row['optimizer']}, {row['metric']}".replace("_", " "),
    f"{row['value']:.4g}{error}",
    f"{found.mean:.4g}{own} ({found.n})",
    "" if math.isnan(apart) else f"{apart:+.2f}",
  ]


def page() -> str:
  """Returns what stands between the marks of the page."""
  compared: dict[Source, list[list[str]]] = {}
  missing: dict[tuple[str, str], int] = {}
  agree = apart = num = 0
  for row, source, found in entries():
    if source is None or found is None:
      key = row["figure"], row["workload"]
      missing[key] = missing.get(key, 0) + 1
      continue
    num += 1
    difference = compare(row, found)
    if not math.isnan(difference):
      apart += 1
      agree += abs(difference) <= AGREE
    compared.setdefault(source, []).append(_line(row, found))
  total = num + sum(missing.values())
  parts = [
    f"- **{num}** of the paper's {total} values that were read off its figures"
    " have ours beside them.\n"
    f"- **{agree}** of the {apart} that have an error agree within"
    f" {AGREE:g} standard errors of the difference.\n"
    f"- **{sum(missing.values())}** are still to be run."
  ]
  head = ["size", "what", "paper", "ours (seeds)", "difference"]
  shown = set()
  for source, lines in compared.items():
    changed = f" Changed: {source.changed}." if source.changed else ""
    parts += [
      f"### Figure {source.figure}, `{source.workload}`",
      f"`python {source.command}`.{changed}",
      pages.table(head, lines),
    ]
    if source.results not in shown:
      parts.append(f"![]({source.results}.png)")
      shown.add(source.results)
  parts.append("## Claims\n\n" + claims.table("paper", "desktop"))
  lines = [
    [figure, f"`{workload}`", str(count), NEEDS[workload]]
    for (figure, workload), count in missing.items()
  ]
  head = ["figure", "workload", "values", "needs"]
  parts.append("## Not run\n\n" + pages.table(head, lines))
  return "\n\n".join(parts)


if __name__ == "__main__":
  pages.write(PAGE, page())
