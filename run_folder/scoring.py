"""By which metric steps and weights are chosen: final and best values."""

from collections.abc import Iterable

from run_folder.files import Record

# The metrics by which steps are chosen: the first that a run has.
SCORES = ("score", "average_precision", "accuracy", "loss")


def score_name(names: Iterable[str]) -> str:
  """Returns the metric by which the best step is chosen.

  In the order of `SCORES`, and the validation split before
  the test split: with no validation split it is the test accuracy, as in the
  published code.
  """
  names = set(names)
  for metric in SCORES:
    for split in ("validation", "test"):
      if f"{split}_{metric}" in names:
        return f"{split}_{metric}"
  raise ValueError(f"no metric to choose by among {sorted(names)}")


def metric_of(name: str) -> str:
  """Returns the metric in a name such as 'test_accuracy'."""
  return name.partition("_")[2]


def score(name: str, value: float) -> float:
  """Returns a score that is larger for better values of the metric."""
  return -value if name.endswith("loss") else value


def is_partial(evaluated: Record) -> bool:
  """Whether an evaluation was capped by `steps_per_eval`."""
  return any(name.endswith("_num_examples") for name in evaluated)


def summarize(lines: list[Record]) -> Record:
  """Returns 'final' and 'best' of the evaluated lines.

  'best' is the last line with the best value of `score_name`, which it names
  under 'chosen_by', as the best checkpoint is; 'best_test_<metric>' is the best
  test value over all evaluations, the number that the published code reports.
  """
  evaluated = [
    line for line in lines if any(k.startswith("test_") for k in line)
  ]
  # Partial evaluations count only if there is no other.
  whole = [line for line in evaluated if not is_partial(line)]
  evaluated = whole or evaluated
  if not evaluated:
    return {}
  chosen_by = score_name(evaluated[-1])
  best = max(
    reversed(evaluated), key=lambda line: score(chosen_by, line[chosen_by])
  )
  test_name = "test_" + metric_of(chosen_by)
  scores = [line[test_name] for line in evaluated]
  best_test = min(scores) if test_name.endswith("loss") else max(scores)
  return {
    "final": evaluated[-1],
    "best": {"chosen_by": chosen_by} | best,
    f"best_{test_name}": best_test,
  }
