"""What the records of a run folder must hold, wherever they are from."""

from typing import Any

from run_folder.disk import Record

# What result.json says of every run, beside its metrics, and of which kind.
FACTS: dict[str, type | tuple[type, ...]] = {
  "status": str,
  "num_parameters": int,
  "num_unpruned_parameters": int,
  "num_steps": int,
  "wall_time_seconds": (int, float),
  "device": str,
}
STATUSES = ("finished", "diverged")


def checked(result: Record, names: list[str]) -> Record:
  """Returns what result.json holds, if it can be that of runs of these names.

  Raises:
    LookupError, TypeError, ValueError: it is not.
  """
  runs = result.get("runs", [{"run": ""}])
  if len(runs) != len(names):
    raise ValueError(f"result.json has {len(runs)} of {len(names)} runs")
  for run in runs:
    record = result | run
    kinds: dict[str, Any] = FACTS | {"run": str}
    if record["status"] == "finished":
      kinds = kinds | {"final": dict, "best": dict}
    for name, kind in kinds.items():
      if not isinstance(record[name], kind):
        raise TypeError(f"result.json: {name}={record[name]!r:.60}")
    if record["status"] not in STATUSES:
      raise ValueError(f"result.json: status={record['status']!r:.60}")
    for name in kinds.keys() & {"final", "best"}:
      values = {"step": 0} | record[name]
      if not isinstance(values.pop("chosen_by", ""), str) or not is_line(
        values
      ):
        raise TypeError(f"result.json: {name}={record[name]!r:.60}")
  return result


def check_outcome(result: Record) -> None:
  """Raises `LookupError` or `TypeError` if the outcome cannot be told."""
  for run in result.get("runs", [result]):
    if run["status"] == "diverged" and not is_place(run["diverged"]):
      raise TypeError(f"result.json: diverged={run['diverged']!r:.60}")
    if run["status"] == "finished":
      for name, key in (("best", "chosen_by"), ("best", "epoch")):
        if key not in run[name]:
          raise KeyError(f"result.json: {name} has no {key}")


def is_line(line: Record) -> bool:
  """Whether a line is one that a run wrote: numbers, of a step."""
  line = dict(line)
  return (
    type(line.pop("step", None)) is int
    and isinstance(line.pop("run", ""), str)
    and ("diverged" not in line or is_place(line.pop("diverged")))
    and all(type(value) in (int, float) for value in line.values())
  )


def is_place(diverged: Any) -> bool:
  """Whether it says what was not finite, and at which step."""
  return (
    isinstance(diverged, dict)
    and isinstance(diverged.get("metric"), str)
    and type(diverged.get("step")) is int
  )
