"""Which parameters SAM perturbs: patterns over their paths.

Mueller et al. (2023, "Normalization layers are all that sharpness-aware
minimization needs") perturb the scales and shifts of normalization layers
alone, by `perturb_only=norm`.
"""

from collections.abc import Callable, Collection
import fnmatch
from typing import Any

import jax
import ml_collections

from configs import errors

PyTree = Any
# Stands for the parameters of all normalization layers.
NORM = "norm"


def predicate(
  config: ml_collections.ConfigDict, params: PyTree
) -> Callable[[str], bool]:
  """Returns (path of a parameter) -> whether it is perturbed.

  Args:
    config: reads perturb_only and perturb_except, one of which is not ''.
    params: the parameters, or their shapes.

  Raises:
    ConfigError: a pattern matches nothing, or nothing is left.
  """
  paths = [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree_util.tree_leaves_with_path(params)
  ]
  name = "perturb_only" if config.perturb_only else "perturb_except"
  matched: set[str] = set()
  for pattern in config[name].split(","):
    found = {p for p in paths if _matches(p, pattern.strip(), paths)}
    if not found:
      raise errors.ConfigError(
        f"config.{name}={config[name]!r}: {pattern.strip()!r} matches none of"
        f" the parameters {', '.join(paths)}"
      )
    matched |= found
  chosen = matched if name == "perturb_only" else {*paths} - matched
  if not chosen:
    raise errors.ConfigError(
      f"config.{name}={config[name]!r}: leaves no parameter to perturb"
    )
  return lambda path: path in chosen


def _matches(path: str, pattern: str, paths: Collection[str]) -> bool:
  if pattern == NORM and _is_normalization(path, paths):
    return True
  return any(
    fnmatch.fnmatchcase(part, pattern) for part in (path, *path.split("/"))
  )


def _is_normalization(path: str, paths: Collection[str]) -> bool:
  """Whether a parameter is of a layer that has a scale, but no kernel."""
  layer = path.rpartition("/")[0]
  names = {
    other.rpartition("/")[2]
    for other in paths
    if other.rpartition("/")[0] == layer
  }
  has_scale = "scale" in names and "kernel" not in names
  return has_scale or "Norm" in layer.rpartition("/")[2]
