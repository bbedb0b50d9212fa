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
  """Returns what result.json holds, if it is that of runs of these names.

  Raises:
    LookupError, TypeError, ValueError: it is not.
  """
  runs = result.get("runs", [{}])
  if len(runs) != len(names):
    raise ValueError(f"result.json has {len(runs)} of {len(names)} runs")
  for run, name in zip(runs, names, strict=True):
    record = {"run": ""} | result | run
    wanted: dict[str, Any] = dict(FACTS)
    if record["status"] == "finished":
      wanted |= {"final": dict, "best": dict}
    for fact, kinds in wanted.items():
      if not isinstance(record[fact], kinds):
        raise TypeError(f"result.json: {fact}={record[fact]!r:.60}")
    if record["status"] not in STATUSES or record["run"] != name:
      raise ValueError(
        f"result.json: status={record['status']!r:.60} of"
        f" run={record['run']!r:.60}"
      )
    if record["status"] == "diverged" and not is_place(record["diverged"]):
      raise TypeError(f"result.json: diverged={record['diverged']!r:.60}")
    for kind in wanted.keys() - FACTS.keys():
      line = dict(record[kind])
      if kind == "best" and not isinstance(line.pop("chosen_by"), str):
        raise TypeError("result.json: best has no name of a metric")
      if not is_line(line) or type(line.get("epoch")) not in (int, float):
        raise TypeError(f"result.json: {kind}={record[kind]!r:.60}")
  return result


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
