"""What a person sees while a run trains: lines, and a bar on a terminal."""

import sys
import time

import tqdm

from records import Record


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

  def evaluated(self, step: int, train: Record, line: Record) -> None:
    """Prints the line of an evaluation.

    Args:
      step: training steps taken.
      train: the newest training metrics, by name.
      line: the evaluation's metrics, by name.
    """
    epochs = f"{step / self._steps_per_epoch:.4g}"
    text = [f"step {step}/{self._num_steps}", f"epoch {epochs}"]
    text.append(describe(train | line))
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


def describe(values: Record) -> str:
  """Returns for instance 'loss train 0.021 test 0.1, accuracy test 97.22 %'."""
  parts = []
  for metric in ("loss", "accuracy"):
    shown = [
      f"{split} {_format(metric, values[f'{split}_{metric}'])}"
      for split in ("train", "validation", "test")
      if f"{split}_{metric}" in values
    ]
    if shown:
      parts.append(" ".join([metric, *shown]))
  return ", ".join(parts)


def _format(metric: str, value: float) -> str:
  return f"{100 * value:.2f} %" if metric == "accuracy" else f"{value:.4g}"


def outcome(result: Record) -> str:
  """Returns the line that ends a finished run."""
  best, final = result["best"], result["final"]
  chosen_by = best["chosen_by"].replace("_", " ")
  return (
    f"finished: final {describe(final)}; best {chosen_by} in epoch"
    f" {best['epoch']:.4g}: {describe(best)}"
  )
