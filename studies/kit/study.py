"""What a study is: a grid of cells, what is claimed of them, and a figure."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Protocol

from matplotlib.figure import Figure
import ml_collections
import pandas as pd

from analysis import restored
from studies.kit.findings import Finding


@dataclasses.dataclass(frozen=True)
class TrainedCell:
  """Runs that train in one program.

  Attributes:
    name: of its folder, unique in the study.
    config: with its sweep.
    labels: columns that its runs gain in the table of results.
  """

  name: str
  config: ml_collections.ConfigDict
  labels: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ComputedCell:
  """Rows that a study computes itself, where theory is faster than training.

  Attributes:
    name: of its folder, unique in the study.
    settings: all that its rows depend on; JSON values.
    num_runs: rows that it has.
    labels: columns that its rows gain in the table of results.
  """

  name: str
  settings: Mapping[str, Any]
  num_runs: int
  labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measure:
  """What a study measures of its runs.

  Attributes:
    of: from a run to columns of the table; a list is a curve, which is drawn
      and not written.
    columns: those that every run has. A run of which one is missing, as an
      older version left it, is measured again.
    seconds: what it takes for a run on a laptop.
  """

  of: Callable[[restored.Run], dict[str, Any]]
  columns: Sequence[str]
  seconds: float = 0.0

  def __call__(self, run: restored.Run) -> dict[str, Any]:
    """Returns the columns of a run."""
    found = self.of(run)
    assert found.keys() >= set(self.columns), sorted(found)
    return found


class HasCells(Protocol):
  """A part of a preset, such as `grids.Grid`."""

  def cells(self) -> Sequence[Any]:
    """Returns cells, all of one kind."""


@dataclasses.dataclass(frozen=True)
class Study:
  """A figure or claim of a paper, and how it is repeated.

  A module of studies/ has one of these. Its cells are trained or, if it has
  `compute`, computed. The table of results has a row for each run: its record,
  the labels of its cell and what was measured.

  Attributes:
    paper: what it repeats, such as a figure by number.
    claim: the main claim, in words.
    presets: the parts of each grid, by the name of the preset.
    claims: from the table to the claims and what was found, for claim.json.
    figure: from the table to the figure.
    measure: of every run that did not diverge; None: nothing is measured.
    compute: from a cell to all its rows.
    compute_seconds: what a row takes.
  """

  paper: str
  claim: str
  presets: Mapping[str, Sequence[HasCells]]
  claims: Callable[[pd.DataFrame], list[Finding]]
  figure: Callable[[pd.DataFrame], Figure]
  measure: Measure | None = None
  compute: Callable[[ComputedCell], list[dict[str, Any]]] | None = None
  compute_seconds: float = 0.0

  def cells(self, preset: str) -> list[Any]:
    """Returns the cells of a preset, all of one kind."""
    return [cell for part in self.presets[preset] for cell in part.cells()]
