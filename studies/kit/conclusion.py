"""What a study leaves: its table, its figure and its claims."""

import pathlib
from typing import Any

import pandas as pd

from analysis import figures
from analysis import table as table_lib
from run_folder import files
from studies.kit.findings import Finding
from studies.kit.study import Study


def write(study: Study, results: pd.DataFrame, workdir: pathlib.Path) -> None:
  """Writes the table, the figure and the claims, and prints the claims."""
  # Curves are only drawn.
  curves = [n for n in results if results[n].map(type).eq(list).any()]
  table_lib.write_csv(results.drop(columns=curves), workdir / "results.csv")
  claims = study.claims(results)
  found: dict[str, Any] = {"paper": study.paper, "claim": study.claim}
  files.write_json(workdir / "claim.json", found | {"found": claims})
  figures.save(study.figure(results), workdir)
  print(f"{study.paper}: {study.claim}")
  for claim in claims:
    print(describe(claim))


def describe(claim: Finding) -> str:
  """Returns the lines of a claim and what was found."""
  value, low, high = (
    "?" if claim[key] is None else f"{claim[key]:.3g}"
    for key in ("value", "low", "high")
  )
  return (
    f"- {claim['claim']}: {claim['verdict'].upper()}\n"
    f"    {claim['metric']}; {claim['statistic']}: {value}"
    f" (95 % interval {low} to {high}, n = {claim['n']})\n"
    f"    paper: {claim['paper']}"
  )
