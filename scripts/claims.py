"""Keeps results of studies, and writes the table of claims.

  python -m scripts.claims [--keep FOLDER ...]

Of each study folder that is given, named as study.py names it, claim.json goes
to studies/results/NAME.json and, but of laptop presets, results.csv, shortened,
to NAME.csv, and figure.png to docs/NAME.png, for the ledger. Then the table of
docs/claims.md is written anew from the claims of the laptop presets.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
from collections.abc import Collection, Iterator
import json
import pathlib
import re
import shutil
from typing import Any

from analysis import table as table_lib
from analysis import verdicts
from scripts import pages

RESULTS = pathlib.Path(__file__).parents[1] / "studies" / "results"
PAGE = pages.DOCS / "claims.md"
LAPTOP = "laptop"
HEADER = (
  "study",
  "claim",
  "metric, statistic",
  "paper",
  "ours (95 % interval)",
  "BCa; naive; p",
  "n",
  "verdict",
)
# Kept even if all runs have the same, as in a part of a study.
_KEPT = {
  *("workload", "metric", "rho", "seed", "num_parameters", "label_noise"),
  *("sparsity", "pruner", "weight_decay", "lazy_alpha", "status"),
}
# What neither tells runs apart nor stands in a figure of the paper.
_LEFT_OUT = re.compile(
  "folder|run|optimizer|device|wall_time_seconds|checkpoint_at_evals|chosen_.*"
  "|.*_(gradient_norm|sharpness|perturbed_loss|learning_rate)"
)


def keep(folder: pathlib.Path) -> None:
  """Copies the claims, table and figure of a study folder for the pages."""
  RESULTS.mkdir(exist_ok=True)
  shutil.copy(folder / "claim.json", RESULTS / f"{folder.name}.json")
  if folder.name.split("-")[1] == LAPTOP:
    return
  runs = table_lib.read_csv(folder / "results.csv")
  varying = [name for name in runs if runs[name].nunique(dropna=False) > 1]
  named = (_KEPT | set(varying)) & set(runs)
  columns = [n for n in runs if n in named and not _LEFT_OUT.fullmatch(n)]
  runs[columns].to_csv(
    RESULTS / f"{folder.name}.csv", index=False, float_format="%.6g"
  )
  shutil.copy(folder / "figure.png", pages.DOCS / f"{folder.name}.png")


def number(value: float | None) -> str:
  """Returns a number with three digits; '?' for None."""
  return "?" if value is None else f"{value:.3g}"


def row(claim: dict[str, Any]) -> list[str]:
  """Returns the cells of a claim, but for the study's.

  Args:
    claim: of claim.json.
  """
  value, low, high = map(number, (claim[k] for k in ("value", "low", "high")))
  beside = []
  if claim["robust_low"] is not None:
    robust = [number(claim[f"robust_{end}"]) for end in ("low", "high")]
    beside.append(f"({', '.join(robust)})")
  if claim["naive"] is not None:
    beside.append(number(claim["naive"]))
  if claim["p"] is not None:
    beside.append(f"p {claim['p']:.2g}")
  star = "\\*" if verdicts.survives(claim) else ""
  is_range = claim["statistic"].endswith("permutation test")
  ends = f"{'range ' if is_range else ''}{low}, {high}"
  return [
    claim["claim"],
    f"{claim['metric']}; {claim['statistic']}",
    claim["paper"],
    f"{value} ({ends})",
    "; ".join(beside),
    str(claim["n"]),
    claim["verdict"] + star,
  ]


def rows(presets: Collection[str]) -> Iterator[list[str]]:
  """Yields the rows of the table; a study's name stands in its first one."""
  for path in sorted(RESULTS.glob("*.json")):
    study, preset, *workloads = path.stem.split("-")
    if preset not in presets:
      continue
    names = [f"`{study}`", preset, *workloads]
    name = " ".join(each for each in names if each != LAPTOP)
    for claim in json.loads(path.read_text())["found"]:
      yield [name, *(cell.replace("|", "\\|") for cell in row(claim))]
      name = ""


def table(*presets: str) -> str:
  """Returns counts of the verdicts, and the table, in Markdown.

  Args:
    presets: of the results that it has.
  """
  claims = list(rows(presets))
  # Why something was not tested follows a colon.
  found = [cells[-1].removesuffix("\\*").split(":")[0] for cells in claims]
  counts = [
    f"{found.count(name)} {words}"
    for name, words in (
      (verdicts.HOLDS, "hold"),
      (verdicts.UNDECIDED, "are undecided"),
      (verdicts.FAILS, "do not hold"),
      (verdicts.UNTESTED, "were not tested"),
    )
  ]
  stars = sum(cells[-1].endswith("*") for cells in claims)
  return (
    f"Of {len(claims)} claims {', '.join(counts)}; {stars} of these verdicts"
    f" stay with Holm's correction.\n\n{pages.table(HEADER, claims)}"
  )


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--keep", type=pathlib.Path, nargs="+", default=[])
  for folder in parser.parse_args().keep:
    keep(folder)
  pages.write(PAGE, table(LAPTOP))


if __name__ == "__main__":
  main()
