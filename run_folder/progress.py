"""What a person sees while a run trains: lines, and a bar on a terminal."""

import sys
import time

import tqdm

from run_folder import scoring
from run_folder.files import Record


class Progress:
  """Prints lines to stdout; on a terminal, draws a bar with the time left."""

  def __init__(self, first_step: int, num_steps: int, steps_per_epoch: int):
    self._num_steps = num_steps
    self._steps_per_epoch = steps_per_epoch
    # When the first call was over, since it compiled: (step, time).
    self._start: tuple[int, float] | None = None
    self._bar = tqdm.tqdm(
      total=num_steps,
      initial=first_step,
      unit="step",
      disable=not sys.stderr.isatty(),
      leave=False,
      dynamic_ncols=True,
    )

  def step(self, step: int) -> None:
    """Moves the bar."""
    self._start = self._start or (step, time.monotonic())
    self._bar.update(step - self._bar.n)

  def evaluated(self, step: int, runs: list[Record], num_diverged: int) -> None:
    """Prints the line of an evaluation.

    Args:
      step: training steps taken.
      runs: the newest metrics by name, of every run that has not diverged.
      num_diverged: number of the others.
    """
    epochs = f"{step / self._steps_per_epoch:.4g}"
    text = [f"step {step}/{self._num_steps}", f"epoch {epochs}"]
    text.append(describe(runs))
    if num_diverged:
      text.append(f"{num_diverged} diverged")
    first_step, start = self._start or (step, 0)
    if step > first_step:
      rate = (step - first_step) / (time.monotonic() - start)
      left = tqdm.tqdm.format_interval((self._num_steps - step) / rate)
      text += [f"{rate:,.4g} steps/s", f"{left} left"]
    self.line("  ".join(text))

  def line(self, text: str) -> None:
    """Prints a line, above the bar if there is one."""
    self._bar.clear()
    print(text, flush=True)
    self._bar.refresh()

  def close(self) -> None:
    self._bar.close()


def describe(runs: list[Record]) -> str:
  """Returns for instance 'loss train 0.021 test 0.1, accuracy test 97.22 %'.

  Of several runs it states the range: 'accuracy test 66.11 to 94.44 %'.
  """
  parts = []
  for metric in reversed(scoring.SCORES):
    shown = [
      f"{split} {_format(metric, [run[f'{split}_{metric}'] for run in runs])}"
      for split in ("train", "validation", "test")
      if runs and all(f"{split}_{metric}" in run for run in runs)
    ]
    if shown:
      parts.append(" ".join([metric.replace("_", " "), *shown]))
  return ", ".join(parts)


def _format(metric: str, values: list[float]) -> str:
  ends = sorted({min(values), max(values)})
  if metric not in ("loss", "score"):
    return " to ".join(f"{100 * v:.2f}" for v in ends) + " %"
  return " to ".join(f"{v:.4g}" for v in ends)


def outcome(result: Record) -> str:
  """Returns the line that ends a finished run, or sweep."""
  if "runs" in result:
    finals = [r["final"] for r in result["runs"] if r["status"] == "finished"]
    count = f"{len(finals)} of {len(result['runs'])} runs"
    return f"finished: {count}; final {describe(finals)}"
  best, final = result["best"], result["final"]
  chosen_by = best["chosen_by"].replace("_", " ")
  return (
    f"finished: final {describe([final])}; best {chosen_by} in epoch"
    f" {best['epoch']:.4g}: {describe([best])}"
  )
