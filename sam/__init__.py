"""The method: SAM's gradient, base optimizers, schedules, pruning masks.

`value_and_grad` is the method; `gradient` has its parts. `optimizer`,
`schedule` and `masks` each have a `create`.
"""

from . import gradient as gradient
from . import masks as masks
from . import optimizer as optimizer
from . import schedule as schedule
from .gradient import accumulated as accumulated
from .gradient import global_norm as global_norm
from .gradient import value_and_grad as value_and_grad
