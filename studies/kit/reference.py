"""The paper's numbers (arXiv 2311.17539), to be drawn and printed beside ours.

`reference_values.csv` holds values that were read off the vector plots of the
paper, with an error of about 1e-3 of an axis unit. Each is a mean over 3 seeds;
`stderr` is the half-width of the printed band, the standard error, which most
plots do not have. Accuracies are in percent.
"""

import functools
import pathlib

import pandas as pd

_PATH = pathlib.Path(__file__).with_name("reference_values.csv")
_MINUS = "sam_minus_"


@functools.cache
def _read() -> pd.DataFrame:
  return pd.read_csv(_PATH, dtype={"figure": str, "size": str})


def load(figure: str, workload: str) -> pd.DataFrame:
  """Returns the values of a figure, one row each.

  Args:
    figure: number of the figure, such as '7' or '13b'.
    workload: such as 'mnist_mlp', 'cifar10_resnet18' or 'teacher_student'.

  Returns:
    Columns: size (as text), num_parameters, optimizer, metric, value, stderr,
    and those of rho, label_noise, pruner, sparsity, weight_decay and alpha that
    the figure states.

  Raises:
    KeyError: there is no such figure or workload.
  """
  table = _read()
  table = table[(table["figure"] == figure) & (table["workload"] == workload)]
  if table.empty:
    raise KeyError(f"no values of figure {figure}, {workload}")
  table = table.rename(columns={"params": "num_parameters"})
  table = table.astype({"num_parameters": int}, errors="ignore")
  stated = table.drop(columns=["paper", "figure", "workload"])
  stderr = stated.pop("stderr")
  return stated.dropna(axis=1, how="all").assign(stderr=stderr)


def gain(figure: str, workload: str) -> pd.DataFrame:
  """Returns the paper's gain of SAM, with the columns of `statistics.summary`.

  Columns: size, num_parameters and the conditions that the figure states; mean
  and stderr of the gain; base and sam, each NaN where the figure does not show
  it. Accuracies are in percent and gains in points.
  """
  table = load(figure, workload)
  is_gain = table["optimizer"].str.startswith(_MINUS)
  of_base = table.loc[is_gain, "optimizer"].iloc[0].removeprefix(_MINUS)
  values = ["optimizer", "metric", "value", "stderr"]
  keys = [name for name in table.columns if name not in values]
  out = table[is_gain].rename(columns={"value": "mean"})
  for name, optimizer in (("base", of_base), ("sam", "sam")):
    side = table[table["optimizer"] == optimizer][[*keys, "value"]]
    out = out.merge(side.rename(columns={"value": name}), "left", keys)
  return out[[*keys, "mean", "stderr", "base", "sam"]]


def optimal_rho(figure: str, workload: str) -> pd.DataFrame:
  """Returns the paper's best rho of each size: size, num_parameters, rho."""
  table = load(figure, workload)
  best = table[table["metric"] == "optimal_rho"]
  return best[["size", "num_parameters"]].assign(rho=best["value"])
