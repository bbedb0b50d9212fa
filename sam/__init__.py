"""The method: SAM's gradient, base optimizers, schedules, pruning masks."""

from sam.gradient import value_and_grad as value_and_grad
