"""The method: SAM's gradient, base optimizers, schedules, pruning masks."""

from .gradient import global_norm as global_norm
from .gradient import value_and_grad as value_and_grad
