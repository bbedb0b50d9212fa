"""The method: SAM's gradient, base optimizers, schedules, pruning masks."""

from sam.gradient import global_norm as global_norm
from sam.gradient import value_and_grad as value_and_grad
