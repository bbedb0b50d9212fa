"""The paper's numbers (arXiv 2311.17539), to be drawn and printed beside ours.

`reference_values.csv` holds values that were read off the vector plots of the
paper, with an error of about 1e-3 of an axis unit. Each is a mean over 3 seeds;
`stderr` is the half-width of the printed band, the standard error, which most
plots do not have. Accuracies are in percent. Workloads have the names of their
configs.
"""

import functools
import pathlib

import numpy as np
import pandas as pd

from analysis import captions
from studies.kit import workloads

_PATH = pathlib.Path(__file__).with_name("reference_values.csv")
_MINUS = "sam_minus_"
_SIZE = "num_parameters"


@functools.cache
def _read() -> pd.DataFrame:
  return pd.read_csv(_PATH, dtype={"figure": str, "size": str})


def values() -> pd.DataFrame:
  """Returns all values, with the columns of reference_values.csv."""
  return _read().copy()


def load(figure: str, workload: str) -> pd.DataFrame:
  """Returns the values of a figure, one row each.

  Args:
    figure: number of the figure, such as '7' or '13b'.
    workload: such as 'mlp_mnist', a file of configs/.

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
  table = table.rename(columns={"params": _SIZE})
  table = table.astype({_SIZE: int}, errors="ignore")
  stated = table.drop(columns=["paper", "figure", "workload"])
  stderr = stated.pop("stderr")
  return stated.dropna(axis=1, how="all").assign(stderr=stderr)


def gain(
  figure: str, workload: str, label_noise: float | None = None
) -> pd.DataFrame:
  """Returns the paper's gain of SAM, with the columns of `statistics.summary`.

  Args:
    figure: number of the figure that has it for most workloads.
    workload: one of the paper's.
    label_noise: the rate, in a figure that has several; None: all.

  Returns:
    Columns: size, num_parameters and the conditions that the figure states;
    mean and stderr of the gain; base and sam, each NaN where the figure does
    not show it. Accuracies are in percent and gains in points.
  """
  table = load(_figure(figure, workload), workload)
  is_gain = table["optimizer"].str.startswith(_MINUS)
  of_base = table.loc[is_gain, "optimizer"].iloc[0].removeprefix(_MINUS)
  values = ["optimizer", "metric", "value", "stderr"]
  keys = [name for name in table.columns if name not in values]
  out = table[is_gain].rename(columns={"value": "mean"})
  for name, optimizer in (("base", of_base), ("sam", "sam")):
    side = table[table["optimizer"] == optimizer][[*keys, "value"]]
    out = out.merge(side.rename(columns={"value": name}), "left", keys)
  out = out[[*keys, "mean", "stderr", "base", "sam"]]
  return out if label_noise is None else out[out["label_noise"] == label_noise]


def optimal_rho(workload: str) -> pd.DataFrame:
  """Returns the paper's best rho of each size: size, num_parameters, rho."""
  table = load(workloads.TABLE[workload].rho_figure, workload)
  best = table[table["metric"] == "optimal_rho"]
  return best[["size", _SIZE]].assign(rho=best["value"])


def quote_gain(
  figure: str,
  workload: str,
  label_noise: float | None = None,
  x: str = _SIZE,
) -> str:
  """Returns `quote` of the gain in the paper's workload that is most alike."""
  workload = workloads.nearest(workload)
  return quote(figure, workload, gain(figure, workload, label_noise), x)


def quote(
  figure: str, workload: str, table: pd.DataFrame, x: str = _SIZE
) -> str:
  """Returns the ends of a curve of the paper, and its slope, in words."""
  table = table.sort_values(x)
  values, sizes = table["mean"].to_numpy(), table[x].to_numpy(float)
  ends = " to ".join(
    f"{values[i]:.3g} at {captions.number(sizes[i])}" for i in (0, -1)
  )
  title = workloads.TABLE[workload].title
  text = f"Figure {_figure(figure, workload)}, {title}: gain {ends}"
  if x != _SIZE:
    return f"{text} {captions.words(x)}"
  slope = np.polyfit(np.log2(sizes), values, 1)[0]
  return f"{text} parameters, slope {slope:.2g} for each doubling"


def _figure(figure: str, workload: str) -> str:
  """Returns the figure that has the gain of a workload, if not this one."""
  return workloads.TABLE[workload].gain_figure or figure
