"""A model minus what it was at its initial weights (lazy training).

Chizat et al. (2019): f(x; w) - f(x; w0), trained on targets divided by alpha,
is f scaled by alpha around its initial function. Shin et al. (UAI 2025) train
VGG-11 so in Appendix E. The division is in losses.py.
"""

import dataclasses
from typing import Any

from flax import linen as nn

# The collection of w0: a constant, which is neither trained nor counted.
INITIAL = "initial"


@dataclasses.dataclass(frozen=True)
class Centred:
  """A model whose outputs are 0 at its initial weights.

  It has the `init` and `apply` of a Flax module. w0 is kept beside the weights,
  so that every run of a sweep has its own, and a checkpoint has it too.

  Attributes:
    model: what is centred; no BatchNorm, since the subtracted outputs would
      follow the statistics of every batch.
  """

  model: nn.Module

  def init(self, rngs: Any, inputs: Any, /, *, train: bool = True) -> Any:
    """Returns the variables of the model, and its 'params' as 'initial'."""
    variables = self.model.init(rngs, inputs, train=train)
    return {**variables, INITIAL: variables["params"]}

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
    """As `flax.linen.Module.apply`; w0 is a constant for differentiation."""
    now = {k: v for k, v in variables.items() if k != INITIAL}
    then = {**now, "params": variables[INITIAL]}
    result: Any = self.model.apply(
      now, inputs, train=train, rngs=rngs, mutable=mutable
    )
    start: Any = self.model.apply(then, inputs, train=train, rngs=rngs)
    if mutable is False:
      return result - start
    outputs, changed = result
    return outputs - start, changed


def recentre(model_state: Any, params: Any) -> Any:
  """Returns the state of a model that is centred at these weights.

  That of a model that is not centred is returned as it is.
  """
  if INITIAL not in model_state:
    return model_state
  return {**model_state, INITIAL: params}
