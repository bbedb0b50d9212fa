"""When things happen in training: the next stop, and what is due there."""

from collections.abc import Mapping
import dataclasses

from training.setup import Setup

# These happen at the end of training only if they have a period.
_ONLY_IF_ASKED = ("snapshot", "measure")


@dataclasses.dataclass(frozen=True)
class Cadence:
  """What is due after which step.

  Attributes:
    num_steps: length of training. At its end everything is due that is not
      only done if asked for.
    periods: steps between two actions of a kind, 'log', 'evaluate', 'save',
      'snapshot' or 'measure'; 0: none before the end.
    turns: steps at which SAM begins and ends, at which a call must end.
    save_at_evals: whether every evaluation is followed by a checkpoint.
  """

  num_steps: int
  periods: Mapping[str, int]
  turns: tuple[int, ...] = ()
  save_at_evals: bool = False

  def next_stop(self, step: int) -> int:
    """Returns the next step after which there is something to do."""
    ends = [(step // n + 1) * n for n in self.periods.values() if n]
    turns = [turn for turn in self.turns if turn > step]
    return min(self.num_steps, *ends, *turns)

  def due(self, step: int) -> set[str]:
    """Returns the actions that are due after a step."""
    due = {action for action in self.periods if self._is_due(action, step)}
    if self.save_at_evals and "evaluate" in due:
      due.add("save")
    return due

  def _is_due(self, action: str, step: int) -> bool:
    period = self.periods[action]
    if not period and action in _ONLY_IF_ASKED:
      return False
    return step == self.num_steps or (period > 0 and step % period == 0)


def create(setup: Setup) -> Cadence:
  """Returns the cadence of a run, or of the runs of a sweep."""
  c, steps_per_epoch = setup.config, setup.steps_per_epoch
  return Cadence(
    num_steps=setup.num_steps,
    periods={
      "log": c.log_every_steps,
      "evaluate": c.eval_every_epochs * steps_per_epoch,
      "save": c.checkpoint_every_steps,
      "snapshot": c.snapshot_every_epochs * steps_per_epoch,
      "measure": c.sharpness_every_epochs * steps_per_epoch,
    },
    turns=(setup.sam_steps.start, setup.sam_steps.stop),
    save_at_evals=c.checkpoint_at_evals,
  )
