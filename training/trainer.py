"""The runs of a setup on their devices, step by step.

One run, or those of a sweep: vmapped in one call (spread over the devices), or
one call each. What a checkpoint holds is the same for both.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from data import pipeline
from training import evaluation
from training import hosts as hosts_lib
from training import metrics as metrics_lib
from training import placement as placement_lib
from training import run_axis
from training import sources
from training import state as state_lib
from training import step as step_lib
from training.placement import Placement
from training.setup import Setup

PyTree = Any


@dataclasses.dataclass
class Part:
  """The runs that one call trains, and what it needs.

  Attributes:
    feed: what is sent to the devices for each step.
    resident: the training examples that stay there.
    state: of the runs, stacked.
    no_metrics: those of no step.
    metrics: those since the last reset.
  """

  placement: Placement
  feed: pipeline.Feed
  resident: PyTree
  state: state_lib.TrainState
  no_metrics: PyTree
  metrics: PyTree

  def items(self) -> dict[str, PyTree]:
    """Returns what is saved of these runs."""
    state = self.state
    training = state.progress | {"metrics": self.metrics}
    items = {"weights": state.weights, "training": training}
    # A mask never changes; whoever measures a pruned model needs it.
    return items if state.mask is None else items | {"mask": state.mask}

  def restore(self, items: dict[str, PyTree]) -> None:
    training = dict(items["training"])
    self.metrics = training.pop("metrics")
    self.state = self.state.replace(
      **items["weights"], **training, mask=items.get("mask")
    )


class Trainer:
  """Trains the runs of a setup.

  Attributes:
    step: training steps taken.
    given_up: indices of the runs that need not be trained any more.
    num_devices: on which there are runs, and others that wait.
  """

  def __init__(
    self,
    setup: Setup,
    devices: Sequence[jax.Device],
    weights: dict[str, PyTree] | None = None,
    hosts: hosts_lib.Hosts = hosts_lib.ALONE,
  ):
    """Creates the initial state.

    Args:
      setup: of all runs.
      devices: all there are.
      weights: what every run starts from; None: new ones, from its seed.
      hosts: the processes that the devices are of.
    """
    self.setup = setup
    self.step = 0
    self.given_up: set[int] = set()
    self.num_devices = len(devices)
    self._steps_per_call = placement_lib.steps_per_call(
      setup.config,
      streamed=setup.is_streamed,
      convolutional=setup.is_convolutional,
    )
    placements = placement_lib.create(
      setup.config,
      devices,
      streamed=setup.is_streamed,
      convolutional=setup.is_convolutional,
      hosts=hosts,
    )
    residents = run_axis.Residents()
    feeds = state_lib.create_feeds(setup, placements[0].num_devices, hosts.part)
    states = state_lib.create_states(setup, weights)
    self._parts = []
    for place in placements:
      no_metrics = metrics_lib.empty(setup.train_metrics)
      empty = run_axis.place([no_metrics] * place.num_runs, place)
      datasets = [setup.datasets[r] for r in place.runs]
      self._parts.append(
        Part(
          placement=place,
          feed=run_axis.stack_feeds([feeds[r] for r in place.runs], place),
          resident=residents.place(datasets, "train", place),
          # Of its own, since steps consume it.
          state=run_axis.place([states[r] for r in place.runs], place),
          no_metrics=empty,
          metrics=empty,
        )
      )
    self._placements = placements
    self._evaluator = evaluation.Evaluator(setup, placements, residents)
    self._sources = sources.create(setup)
    self._has_refreshed = False
    self._chunks: dict[Any, Callable[..., Any]] = {}
    self._in_flight: list[Any] = []

  def state(self, run: int) -> state_lib.TrainState:
    """Returns the state of a run."""
    part = self._part_of(run)
    place = part.placement
    return run_axis.take_placed(part.state, place.runs.index(run), place)

  def _part_of(self, run: int) -> Part:
    return next(p for p in self._parts if run in p.placement.runs)

  def call(self, limit: int) -> bool:
    """Takes as many steps as one call to the devices can, at most `limit`.

    Where batches are trimmed, it is a call for each stretch of one size.

    Returns:
      Whether it compiled.
    """
    ascend = self.step in self.setup.sam_steps
    num_steps = min(self._steps_per_call, self._refresh(limit))
    compiled = False
    # One call runs while the host prepares the next, but no more.
    waiting, self._in_flight = self._in_flight, []
    for part in self._parts:
      place = part.placement
      if self.given_up.issuperset(place.runs):
        continue
      for first, count, size in pipeline.stretches(
        part.feed, self.step, num_steps
      ):
        key = place.devices, place.num_vmapped, ascend, size
        if key not in self._chunks:
          self._chunks[key] = step_lib.compile_chunk(
            self.setup, place, self._steps_per_call, ascend=ascend, size=size
          )
          compiled = True
        feed = part.feed.take(first, count, self._steps_per_call)
        part.state, part.metrics = self._chunks[key](
          part.state, part.metrics, np.int32(count), feed, part.resident
        )
        if place.serialize_calls:
          jax.block_until_ready(part.metrics)
      self._in_flight.append(part.metrics)
    jax.block_until_ready(waiting)
    if compiled:
      jax.block_until_ready(self._in_flight)
    self.step += num_steps
    return compiled

  def _refresh(self, limit: int) -> int:
    """Renews the examples that are due.

    Returns:
      The number of steps that they serve, at most `limit`.
    """
    for run, source in self._sources.items():
      is_due = self.step % source.period == 0 or not self._has_refreshed
      if is_due and run not in self.given_up:
        part = self._part_of(run)
        state = part.state
        dataset = source.refresh(state.weights, self.step, state.rng)
        # Residents of its own, since shared ones keep all that ever was.
        part.resident = run_axis.Residents().place(
          [dataset], "train", part.placement
        )
      limit = min(limit, source.period - self.step % source.period)
    self._has_refreshed = True
    return limit

  def train_metrics(self) -> list[metrics_lib.Computed]:
    """Returns the metrics of each run since the last reset."""
    computed = [
      run
      for part in self._parts
      for run in metrics_lib.compute(
        run_axis.fetch(part.metrics, part.placement), part.placement.num_runs
      )
    ]
    for run, source in self._sources.items():
      computed[run][0].update(source.metrics())
    return computed

  def reset_metrics(self) -> None:
    for part in self._parts:
      part.metrics = part.no_metrics
    for source in self._sources.values():
      source.reset_metrics()

  def evaluate(self) -> list[evaluation.Values]:
    """Returns the evaluation of each run."""
    evaluated = self._evaluator([part.state.weights for part in self._parts])
    for run, source in self._sources.items():
      evaluated[run] |= source.evaluate(self.state(run).weights)
    return evaluated

  def describe(self) -> str:
    """Returns how the runs are trained, in words."""
    num_at_once = self._placements[0].num_vmapped
    how = "vmapped" if num_at_once > 1 else "one after the other"
    return f"{how} on each of {self.num_devices} devices"

  def count_parameters(self) -> list[dict[str, int]]:
    """Returns the number of parameters of each run, and of unpruned ones."""
    counts = []
    for part in self._parts:
      read = {"params": part.state.params, "mask": part.state.mask}
      state = part.state.replace(**run_axis.fetch(read, part.placement))
      counts += state_lib.count_parameters(state, part.placement.num_runs)
    return counts

  def abstract_items(self) -> dict[str, PyTree]:
    """Returns the shapes, dtypes and shardings of `items`."""
    part = self._parts[0]
    one_run = run_axis.abstract_run(part.items(), part.placement)
    return run_axis.abstract(one_run, len(self.setup.runs))

  def items(self) -> dict[str, PyTree]:
    """Returns copies on the host of what resuming needs."""
    items = [part.items() for part in self._parts]
    return run_axis.join(items, self._placements)

  def weights(self) -> PyTree:
    """Returns copies on the host of the weights, as in `items`."""
    weights = [part.state.weights for part in self._parts]
    return run_axis.join(weights, self._placements)

  def restore(self, step: int, items: dict[str, PyTree]) -> None:
    """Goes on from `items` after so many steps."""
    self.step = step
    parts = run_axis.cut(items, [p.num_runs for p in self._placements])
    for part, of_part in zip(self._parts, parts, strict=True):
      part.restore(run_axis.put(of_part, part.placement))


def evaluate(
  setup: Setup, placements: Sequence[Placement], weights: PyTree
) -> list[evaluation.Values]:
  """Returns the evaluation of each run with its weights, as `items` has them.

  Args:
    setup: of all runs.
    placements: where they are evaluated.
    weights: 'params' and 'model_state' of all runs.
  """
  sizes = [place.num_runs for place in placements]
  evaluator = evaluation.Evaluator(setup, placements, run_axis.Residents())
  parts = run_axis.cut(weights, sizes)
  evaluated = evaluator(
    [run_axis.put(w, p) for w, p in zip(parts, placements, strict=True)]
  )
  of_runs = run_axis.unstack(weights, len(setup.runs))
  for run, source in sources.create(setup).items():
    evaluated[run] |= source.evaluate(of_runs[run])
  return evaluated
