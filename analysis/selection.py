"""Tables of runs: the best hyper-parameters, and what SAM gains with them.

Frames are those of `table.read_frame`, one row a run. Accuracies come as
fractions and leave in percent, their gains in percentage points; losses stay as
they are. A gain is positive where SAM is better. A diverged run counts as
missing. Every function is pure; none reads or writes a file.

The best of several values that are as good looks better than it is: where it
was chosen by the runs that it is reported on, a gain is too large. So each
seed's values are chosen on the other seeds (cross-fitting). The gain at those
chosen on all seeds, as papers report it, stands beside it and is called naive.
"""

from collections.abc import Sequence

import pandas as pd

from analysis import statistics
from configs import fields
from run_folder import scoring

# What only SAM reads: runs of the base optimizer belong to every value of it.
SAM_ONLY = {
  name
  for name, field in fields.FIELDS.items()
  if "sam" in field.read_if.get("optimizer", ())
} - {"base_optimizer", "rho"}


def scale(metric: str) -> float:
  """Returns what turns a metric of a frame into what is shown: percent."""
  return 100.0 if metric.endswith(("accuracy", "precision")) else 1.0


def validation_metric(metric: str) -> str:
  """Returns by which metric of a validation split to choose for a metric.

  It is that of the final epoch or, for another epoch's, of the best validation
  epoch.
  """
  when, _, kind = metric.split("_", 2)
  return f"{'final' if when == 'final' else 'chosen'}_validation_{kind}"


def refuse_repeats(frame: pd.DataFrame, columns: list[str]) -> None:
  """Raises ValueError if two runs share all of these columns."""
  repeated = frame[frame.duplicated(columns)]
  if len(repeated):
    where = ", ".join(f"{c}={repeated.iloc[0][c]}" for c in columns)
    raise ValueError(f"more than one run has {where}")


def choose(
  frame: pd.DataFrame,
  group: Sequence[str],
  over: Sequence[str],
  choose_by: str,
  *,
  cross_fit: bool = False,
) -> pd.DataFrame:
  """Returns the values of columns that are best on average over the seeds.

  Values count only if every seed of their group finished and has the metric.
  Of equally good ones the smallest are taken. A group in which none count is
  left out.

  Args:
    frame: runs; one for each of group, `over` and seed.
    group: columns, at least one; a choice is made for each of their values.
    over: the columns that are chosen together, such as ['rho'].
    choose_by: the metric, such as 'final_validation_accuracy'.
    cross_fit: whether each seed has a choice of its own, the best on average
      over the other seeds. A seed that is alone has that by itself.

  Returns:
    Columns: the group's, 'seed' if `cross_fit`, `over`, and `choose_by`, its
    mean.

  Raises:
    ValueError: two runs share group, `over` and seed.
  """
  group, over = list(group), list(over)
  refuse_repeats(frame, [*group, *over, "seed"])
  num_seeds = frame.groupby(group)["seed"].nunique().rename("num_seeds")
  runs = frame.loc[frame["status"] == "finished", [*group, *over, "seed"]]
  runs = runs.assign(own=frame[choose_by]).dropna(subset="own")
  sums = runs.groupby([*group, *over])["own"].agg(["sum", "count"])
  table = sums.reset_index().merge(num_seeds.reset_index(), on=group)
  table = table[table["count"] == table["num_seeds"]]
  if cross_fit:
    table = table.merge(runs, on=[*group, *over])
    others = table["count"] > 1
    table["sum"] -= table["own"].where(others, 0)
    table["count"] -= others
    group = [*group, "seed"]
  table[choose_by] = table["sum"] / table["count"]
  table = table.sort_values([*group, *over], ignore_index=True)
  scores = scoring.score(choose_by, 1) * table[choose_by]
  best = scores.groupby([table[name] for name in group]).transform("max")
  good = table[scores >= best - statistics.PRECISION * best.abs()]
  first = good.drop_duplicates(group)
  return first[[*group, *over, choose_by]].reset_index(drop=True)


def optimal_rho(
  frame: pd.DataFrame, group: Sequence[str], choose_by: str
) -> pd.DataFrame:
  """Returns `choose` over the rho > 0, on all seeds."""
  return choose(frame[frame["rho"] > 0], group, ["rho"], choose_by)


def at_best(
  runs: pd.DataFrame,
  group: list[str],
  over: list[str],
  metric: str,
  choose_by: str,
  *,
  cross_fit: bool = False,
) -> pd.DataFrame:
  """Returns the metric of each seed at the best values of `over`.

  Args:
    runs: as those of `choose`.
    group: see `choose`.
    over: see `choose`.
    metric: column of what is returned.
    choose_by: see `choose`.
    cross_fit: see `choose`.

  Returns:
    Columns: the group's, seed, `over` and the metric.
  """
  best = choose(runs, group, over, choose_by, cross_fit=cross_fit)
  best = best.drop(columns=choose_by)
  found = runs[runs["status"] == "finished"].merge(best)
  return found[[*group, "seed", *over, metric]]


def gains(
  frame: pd.DataFrame,
  group: Sequence[str],
  metric: str,
  choose_by: str,
  tuned: Sequence[str] = ("rho",),
) -> pd.DataFrame:
  """Returns what SAM gains over the base optimizer, paired by seed.

  SAM has the best values of what is tuned, and its base the best of what it
  reads of that. Each seed's are chosen on the other seeds, so that no choice
  profits from the runs that it is reported on. Without a validation split
  `choose_by` can be a test metric, as in the paper; it is the caller's to say
  so.

  Args:
    frame: runs; one for each of group, `tuned` and seed.
    group: columns, at least one, such as ['label_noise', 'num_parameters'].
    metric: column of the gain, an accuracy or a loss.
    choose_by: column by which the values are chosen.
    tuned: columns that are chosen together: rho, and others such as
      'weight_decay'.

  Returns:
    One row a group and seed. Columns: the group's, seed, rho, base and sam (the
    metric of both), gain; naive_rho and naive, the rho that is chosen on all
    seeds and the gain there. `attrs['num_dropped']` counts SAM's pairs of group
    and seed that have no row, since a run of the pair diverged or is missing.

  Raises:
    ValueError: two runs of SAM share group, `tuned` and seed.
  """
  group, tuned = list(group), list(tuned)
  shared = [name for name in group if name not in SAM_ONLY]
  of_base = [n for n in tuned if n not in SAM_ONLY and n != "rho"]
  is_sam = frame["rho"] > 0
  keys = [*group, "seed"]
  sides = []
  for cross_fit in (True, False):
    sam = at_best(
      frame[is_sam], group, tuned, metric, choose_by, cross_fit=cross_fit
    )
    base = frame[~is_sam & (frame["status"] == "finished")]
    if of_base:
      base = at_best(
        frame[~is_sam], shared, of_base, metric, choose_by, cross_fit=cross_fit
      )
    # In a sweep, each value of what only SAM reads repeats the base's runs.
    base = base.groupby([*shared, "seed"])[metric].mean().rename("base")
    sam = sam[[*keys, "rho", metric]].rename(columns={metric: "sam"})
    pairs = sam.merge(base.reset_index(), on=[*shared, "seed"]).dropna()
    pairs[["base", "sam"]] *= scale(metric)
    pairs["gain"] = scoring.score(metric, 1) * (pairs["sam"] - pairs["base"])
    sides.append(pairs)
  fitted, naive = sides
  naive = naive.rename(columns={"rho": "naive_rho", "gain": "naive"})
  table = fitted.merge(naive[[*keys, "naive_rho", "naive"]], on=keys)
  table = table.sort_values(keys, ignore_index=True)
  wanted = frame.loc[is_sam, keys].drop_duplicates()
  table.attrs["num_dropped"] = len(wanted) - len(table)
  names = ["rho", "base", "sam", "gain", "naive_rho", "naive"]
  return table[[*keys, *names]]
