"""Flax modules of one's own, in a file: PATH.py:NAME."""

from collections.abc import Mapping
import dataclasses
import functools
import importlib.util
import inspect
import os
import sys
import traceback
import types
from typing import Any

from flax import linen as nn

# What is given to a module that has such a field.
_DTYPES = ("dtype", "param_dtype")


class Unusable(Exception):
  """A module that cannot be used; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Steady:
  """A module whose call does not take `train`: it is the same in both modes.

  Attributes:
    module: called as `module(inputs)`.
  """

  module: nn.Module

  def init(self, rngs: Any, inputs: Any, /, *, train: bool = True) -> Any:
    """As `flax.linen.Module.init`."""
    del train
    return self.module.init(rngs, inputs)

  def apply(
    self,
    variables: Any,
    inputs: Any,
    /,
    *,
    train: bool = True,
    rngs: Any = None,
    mutable: Any = False,
  ) -> Any:
    """As `flax.linen.Module.apply`."""
    del train
    return self.module.apply(variables, inputs, rngs=rngs, mutable=mutable)


def create(
  place: str, num_outputs: int, args: Mapping[str, Any], dtypes: dict[str, Any]
) -> nn.Module | Steady:
  """Returns a module of a class in a file.

  Args:
    place: 'PATH.py:NAME'.
    num_outputs: given to its field of that name.
    args: other fields, by name.
    dtypes: 'dtype' and 'param_dtype', given to it if it has such fields; if
      they are not float32, it must have them.

  Raises:
    Unusable: there is no such class, or it is no module with these fields.
  """
  path, _, name = place.rpartition(":")
  wrong = f"config.model={place!r}: "
  if not os.path.isfile(path):
    raise Unusable(f"{wrong}there is no file {path}")
  try:
    module = _load(path, os.stat(path).st_mtime_ns)
  except Exception as e:  # Whatever the file raises.
    raise Unusable(wrong + blame(e, path)) from e
  kind = getattr(module, name, None)
  if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
    raise Unusable(f"{wrong}{name} must be a class of flax.linen.Module")
  fields = [f.name for f in dataclasses.fields(kind) if f.init]
  if "num_outputs" not in fields:
    raise Unusable(f"{wrong}{name} must have a field num_outputs")
  own = [f for f in fields if f not in ("parent", "name", "num_outputs")]
  for arg in args:
    if arg not in own:
      raise Unusable(
        f"config.model_args: {name} has no field {arg!r} to set; it has"
        f" {', '.join(f for f in own if f not in _DTYPES) or 'none'}"
      )
  if dtypes["dtype"] != "float32" and not {*_DTYPES} <= {*fields}:
    raise Unusable(
      f"config.dtype={str(dtypes['dtype'])!r}: must be 'float32', or {name}"
      " have fields dtype and param_dtype"
    )
  given = {k: v for k, v in dtypes.items() if k in fields} | dict(args)
  try:
    made = kind(num_outputs=num_outputs, **given)
  except Exception as e:
    raise Unusable(f"config.model_args: {blame(e, path)}") from e
  parameters = inspect.signature(kind.__call__).parameters.values()
  if any(p.name == "train" or p.kind is p.VAR_KEYWORD for p in parameters):
    return made
  return Steady(made)


@functools.lru_cache
def _load(path: str, time: int) -> types.ModuleType:
  """Returns the module in a file; once, so that its classes are the same."""
  del time  # A file that was edited is loaded anew.
  name = f"own_model_{os.path.splitext(os.path.basename(path))[0]}"
  folder = os.path.dirname(path)
  if folder not in sys.path:  # Last: what it has must not hide our modules.
    sys.path.append(folder)
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec is not None, path
  assert spec.loader is not None, path
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  spec.loader.exec_module(module)
  return module


def blame(error: Exception, path: str) -> str:
  """Returns what went wrong in one line, and in which line of a file."""
  lines = [
    f"line {line}: "
    for frame, line in traceback.walk_tb(error.__traceback__)
    if frame.f_code.co_filename == path
  ]
  text = " ".join(str(error).split())[:300]
  return f"{''.join(lines[-1:])}{type(error).__name__}: {text}"
