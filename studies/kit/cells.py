"""What a study trains: cells, each a sweep of runs of one shape."""

from collections.abc import Mapping
import dataclasses
import importlib
from typing import Any

import ml_collections

from configs import base


@dataclasses.dataclass(frozen=True)
class Cell:
  """Runs that train in one program.

  Attributes:
    name: of its folder, unique in the study.
    config: with its sweep.
    labels: columns that its runs gain in the table of results.
  """

  name: str
  config: ml_collections.ConfigDict
  labels: Mapping[str, Any]


def create(
  name: str,
  workload: str,
  *,
  sweep: Mapping[str, tuple[Any, ...]],
  labels: Mapping[str, Any] | None = None,
  fields: Mapping[str, Any],
) -> Cell:
  """Returns a cell of a workload.

  Args:
    name: of its folder.
    workload: a file of configs/, without '.py'; also a label.
    sweep: values of the swept fields.
    labels: further columns of the table of results.
    fields: what differs from the workload's config.
  """
  config = importlib.import_module(f"configs.{workload}").get_config()
  config.update(fields)
  config.sweep.update(sweep)
  base.check(config)
  return Cell(name, config, {"workload": workload} | dict(labels or {}))
