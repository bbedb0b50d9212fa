"""What a study leaves: its table, its figure and its claims."""

import pathlib
from typing import Any

import pandas as pd

from analysis import figures
from analysis import table as table_lib
from analysis import verdicts
from run_folder import disk
from studies.kit.findings import Finding
from studies.kit.study import Study


def write(study: Study, results: pd.DataFrame, workdir: pathlib.Path) -> None:
  """Writes the table, the figure and the claims, and prints the claims.

  A workload of which every run diverged is only in the table. If there is no
  other, there is no figure and no claim.
  """
  # Curves are only drawn.
  curves = [n for n in results if results[n].map(type).eq(list).any()]
  table_lib.write_csv(results.drop(columns=curves), workdir / "results.csv")
  print(f"{study.paper}: {study.claim}")
  judged = _without_diverged(results)
  claims = verdicts.correct(study.claims(judged)) if len(judged) else []
  found: dict[str, Any] = {"paper": study.paper, "claim": study.claim}
  disk.write_json(workdir / "claim.json", found | {"found": claims})
  if len(judged):
    figures.save(study.figure(judged), workdir)
  for claim in claims:
    print(describe(claim))
  num_tested = sum(claim["p_holm"] is not None for claim in claims)
  if num_tested > 1:
    print(
      f"({num_tested} claims were tested; * marks the verdicts that stay with"
      " Holm's correction for their number)"
    )


def _without_diverged(results: pd.DataFrame) -> pd.DataFrame:
  """Returns the workloads of which a run finished, and names the others."""
  if not {"status", "workload"} <= set(results):  # As where it is computed.
    return results
  diverged = results["status"].eq("diverged").groupby(results["workload"]).all()
  for workload in diverged.index[diverged]:
    print(f"- {workload}: every run diverged, so that no claim is judged")
  return results[~results["workload"].map(diverged)]


def describe(claim: Finding) -> str:
  """Returns the lines of a claim and what was found.

  Args:
    claim: of `verdicts.correct`.
  """

  def number(key: str) -> str:
    return "?" if claim[key] is None else f"{claim[key]:.3g}"

  star = "*" if verdicts.survives(claim) else ""
  is_range = claim["statistic"].endswith("permutation test")
  kind = "bootstrap range" if is_range else "95 % interval"
  found = f"{kind} {number('low')} to {number('high')}"
  if claim["robust_low"] is not None:
    found += f", BCa {number('robust_low')} to {number('robust_high')}"
  naive = claim["naive"]
  beside = ""
  if naive is not None:
    beside = f"; {naive:.3g} at the rho that is best on the same seeds"
  return (
    f"- {claim['claim']}: {claim['verdict'].upper()}{star}\n"
    f"    {claim['metric']}; {claim['statistic']}: {number('value')}"
    f" ({found}, n = {claim['n']}, p = {number('p')}){beside}\n"
    f"    paper: {claim['paper']}"
  )
