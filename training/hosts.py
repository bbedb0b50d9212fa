"""The processes that train a run together: which part of it is mine.

A process that is alone has all of it. `training/several.py` has the other kind,
and is imported only where `main.py --hosts` asks for it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

PyTree = Any
T = TypeVar("T")


class Hosts:
  """What a process knows of the others, if there are none.

  All processes call the same methods in the same order.

  Attributes:
    is_first: whether this one has the run folder, and speaks.
    part: (index of this process, number of processes): batches and devices are
      cut into so many equal parts.
  """

  is_first = True
  part = (0, 1)

  def devices(self) -> list[jax.Device]:
    """Returns the devices of all, those of a process one after the other."""
    return jax.local_devices()

  def mine(self, devices: Sequence[jax.Device]) -> Sequence[jax.Device]:
    """Returns those of the devices of all that are this process's."""
    return devices

  def agree(self, *numbers: int) -> tuple[int, ...]:
    """Returns the largest of each over all, perhaps some calls later."""
    return numbers

  def check_same(self, what: str, value: Any) -> None:
    """Raises `UserError` where a process has another JSON value."""

  def from_first(self, make: Callable[[], T]) -> T:
    """Returns what the first process makes, a JSON value."""
    return make()

  def items_from_first(
    self, make: Callable[[], tuple[int, PyTree] | None], like: PyTree
  ) -> tuple[int, PyTree] | None:
    """Returns what the first process makes: a step, and arrays as `like`."""
    return make()

  def gather(self, rows: np.ndarray) -> np.ndarray:
    """Returns the rows of all processes, one after the other."""
    return rows


ALONE = Hosts()
