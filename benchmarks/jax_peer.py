"""A limit for benchmarks/start_up.py: a run of SAM in a bare JAX loop.

  python -m benchmarks.jax_peer --width=64

Data, batch, epochs, schedule, momentum, weight decay and evaluations are those
of configs/mlp_digits.py. Nothing is written, checked, resumed or measured.
"""

from program import signals

if __name__ == "__main__":
  signals.STOP.arm()  # Before imports that take seconds.

import argparse
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs import mlp_digits
import data
from data import dataset as dataset_lib
from program import jax_setup


class MLP(nn.Module):
  """The MLP 64 - width - width - 10, with biases."""

  width: int

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = nn.relu(nn.Dense(self.width)(x))
    return nn.Dense(10)(x)


def train(width: int, seed: int) -> float:
  """Trains one run and returns its final test accuracy."""
  c = mlp_digits.get_config()
  splits = {
    name: (split.inputs.reshape(-1, 64) / np.float32(16), split.targets)
    for name, split in data.load(c).splits.items()
    if isinstance(split, dataset_lib.ArraySplit)
  }
  model = MLP(width)
  inputs, labels = map(jnp.asarray, splits["train"])
  params = jax.jit(model.init)(jax.random.key(seed), inputs[:1])
  steps_per_epoch = len(inputs) // c.batch_size
  total = c.num_epochs * steps_per_epoch
  optimizer = optax.chain(
    optax.add_decayed_weights(c.weight_decay),
    optax.sgd(
      optax.piecewise_constant_schedule(
        c.learning_rate, {total // 2: 0.1, 3 * total // 4: 0.1}
      ),
      c.momentum,
    ),
  )

  def loss_fn(params, x, y):
    logits = model.apply(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

  def step(carry, batch):
    params, opt_state = carry
    x, y = inputs[batch], labels[batch]
    grads = jax.grad(loss_fn)(params, x, y)
    scale = c.rho / (optax.global_norm(grads) + 1e-12)
    moved = jax.tree.map(lambda p, g: p + scale * g, params, grads)
    grads = jax.grad(loss_fn)(moved, x, y)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None

  @functools.partial(jax.jit, donate_argnums=0)
  def epochs(carry, batches):
    return jax.lax.scan(step, carry, batches)[0]

  @jax.jit
  def accuracy(params, x, y):
    logits = jnp.asarray(model.apply(params, x))
    return jnp.mean(jnp.argmax(logits, -1) == y)

  rng = np.random.default_rng(seed)
  carry = params, optimizer.init(params)
  found = 0.0
  for _ in range(c.num_epochs // c.eval_every_epochs):
    order = np.stack(
      [rng.permutation(len(inputs)) for _ in range(c.eval_every_epochs)]
    )[:, : steps_per_epoch * c.batch_size]
    carry = epochs(carry, order.reshape(-1, c.batch_size))
    for name in ("validation", "test"):
      found = float(accuracy(carry[0], *splits[name]))
  return found


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--width", type=int, required=True)
  jax_setup.set_up(float64=False)  # The compilation cache.
  print(train(parser.parse_args().width, seed=0))


if __name__ == "__main__":
  main()
