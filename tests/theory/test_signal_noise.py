"""Training in inner products against the network itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import data
from data import pipeline
from tests import helpers
from theory import signal_noise

NUM_STEPS = 40
SIGNAL = 3.0
FIELDS = {
  "dataset": "signal_noise",
  "input_dim": 300,
  "signal_norm": SIGNAL,
  "noise_scale": 0.7,
  "num_train": 12,
  "num_patches": 3,
  "label_noise": 0.25,
  "model": "two_layer_conv",
  "num_filters": 4,
  "averaged_over": "filters",
  "loss": "logistic",
  "rho": 0.2,
  "learning_rate": 0.5,
  "lr_scheduler": "constant",
  "momentum": 0.0,
  "batch_size": 12,
  "num_train_steps": NUM_STEPS,
  "dtype": "float64",
}


def _parts(split):
  """Returns what patches are made of: noises [N, d] and signals' classes."""
  inputs = np.asarray(split.inputs, float)
  at = np.all(inputs[..., 1:] == 0, -1)
  places = at.argmax(1)
  rows = np.arange(len(inputs))
  # One of the first two patches is noise.
  noises = inputs[rows, np.where(places == 0, 1, 0)]
  return noises, np.sign(inputs[rows, places, 0])


def _setting(weights_TxN, rho, c):
  return signal_noise.Setting(
    signal_norm=SIGNAL,
    noise_patches=c.num_patches - 1,
    factor=1 / c.num_filters,
    learning_rate=c.learning_rate,
    tau_T=jnp.full(len(weights_TxN), rho),
    weights_TxN=jnp.asarray(weights_TxN),
  )


def _weights(batch_size):
  """Returns those of the trainer's batches."""
  num_epochs = NUM_STEPS * batch_size // 12
  order_of = pipeline.EpochOrders(0, 12)
  orders = [order_of(epoch) for epoch in range(num_epochs)]
  weights = np.zeros((NUM_STEPS, 12))
  indices = np.reshape(orders, (NUM_STEPS, batch_size))
  np.put_along_axis(weights, indices, 1 / batch_size, 1)
  return weights


def _start(dataset, filters):
  train, test = dataset.splits["train"], dataset.splits["test"]
  noises, truth = _parts(train)
  test_noises, test_truth = _parts(test)
  signs = 2.0 * train.targets - 1
  assert (signs != truth).sum() == 3  # A quarter of the labels are wrong.
  return signal_noise.from_vectors(
    filters,
    noises,
    np.eye(noises.shape[1])[0],
    truth,
    signs,
    test_noises,
    test_truth,
  )


@pytest.mark.parametrize(
  ("rho", "batch_size"), [(0.2, 12), (0.0, 12), (0.2, 6)]
)
def test_equals_the_trainer(rho, batch_size):
  """In float64, 40 steps of the network by the trainer's own chunk."""
  c = helpers.config(**FIELDS | {"batch_size": batch_size})
  with jax.enable_x64(True):
    dataset = data.load(c)
    trainer = helpers.Trainer(c, dataset)
    initial = np.array(trainer.state.params["filters"])
    start = _start(dataset, initial)
    setting = _setting(_weights(batch_size), rho, c)
    filters, trace = jax.jit(signal_noise.train)(start, setting)

    trainer.run(NUM_STEPS, ascend=rho > 0)
    trained = np.array(trainer.state.params["filters"])
    seen = trainer.metrics.compute()["loss"]
    np.testing.assert_allclose(seen, trace.loss_T.mean(), rtol=1e-9)
    noises, _ = _parts(dataset.splits["train"])
    directions = np.vstack([noises, np.eye(300)[:1]])
    want = trained @ directions.T
    np.testing.assert_allclose(filters.products_JxMxK, want, atol=1e-9)

    # The filters themselves, from their decomposition.
    signal, noise = signal_noise.decompose(
      filters.coefficients_JxMxK, start, setting
    )
    moved = np.array([-1, 1])[:, None] * signal / SIGNAL
    along = noises / np.sum(noises**2, 1, keepdims=True)
    rebuilt = initial + np.asarray(noise) @ along
    rebuilt[..., 0] += moved
    np.testing.assert_allclose(rebuilt, trained, atol=1e-9)
    assert np.abs(trained - initial).max() > 0.1

    test = dataset.splits["test"]
    outputs = trainer.setup.model.apply(
      {"params": {"filters": trained}}, jnp.asarray(test.inputs, float)
    )
    got = signal_noise.test_outputs(filters, start, setting)
    np.testing.assert_allclose(got, outputs[:, 0], atol=1e-9)
    wrong = np.mean(outputs[:, 0] * (2 * test.targets - 1) <= 0)
    error = signal_noise.test_error(filters, start, setting)
    assert 0 < error < 0.5
    np.testing.assert_allclose(error, wrong)


DRAWN = {
  "num_train": 20,
  "num_filters": 10,
  "noise_scale": 2.0,
  "num_test": 4000,
}


@pytest.mark.parametrize("init_scale", [None, 0.01])
def test_test_noises_are_drawn_as_if_they_were_vectors(init_scale):
  """Their covariance is that of Gaussian vectors, given all others."""
  start = signal_noise.draw(
    np.random.default_rng(0), dim=500, init_scale=init_scale, **DRAWN
  )
  size = DRAWN["num_test"]
  flat = np.asarray(start.test_products_SxJxM).reshape(size, -1)
  drawn = np.concatenate([flat, start.test_gram_SxK], 1)
  scale = drawn.std(0)
  # Filters, noises and e: sigma_p ||w||, sigma_p ||xi||, sigma_p.
  init = 500**0.5 * init_scale if init_scale else 3**-0.5
  want = 2 * np.repeat([init, 2 * 500**0.5, 1], [20, 20, 1])
  np.testing.assert_allclose(scale, want, rtol=0.15)
  correlation = np.corrcoef(drawn.T)
  gram = np.block(
    [
      [np.full((20, 20), np.nan), np.zeros((20, 21))],
      [np.zeros((21, 20)), np.asarray(start.gram_KxK)],
    ]
  )
  gram[:20, 20:] = np.asarray(start.products_JxMxK).reshape(20, 21)
  norms = want / 2
  known = (gram / np.outer(norms, norms))[:20, 20:]
  # The standard error of a correlation is 1 / sqrt(4000) = .016.
  np.testing.assert_allclose(correlation[:20, 20:], known, atol=0.08)
  assert np.abs(known).max() > 0.1


def test_perturbation_switches_noise_off():
  """The lemma behind Theorem 4.1, with its initial weights, tau and time.

  Before the first step the perturbation switches off every filter that the
  noise of an example of its class activates. In the first steps, of which there
  are m B / (eta n ||mu||^2), it still does so with nine in ten, and the signal
  is learned faster than by gradient descent. A tenth of tau is too little.
  """
  dim, signal_norm, rate = 20_000, 8.0, 0.01
  theory = {"num_patches": 2, "noise_scale": DRAWN["noise_scale"]}
  tau = signal_noise.theory_tau(dim, num_filters=10, batch_size=20, **theory)
  assert tau == pytest.approx(10 * 20**0.5 / (4 * 20_000**0.5))
  start = signal_noise.draw(
    np.random.default_rng(0), dim=dim, init_scale=1 / (4 * dim**0.5), **DRAWN
  )
  num_steps = int(10 / (rate * signal_norm**2))
  weights = jnp.full((num_steps, 20), 1 / 20)

  def train(tau):
    taus = jnp.full(num_steps, tau)
    setting = signal_noise.Setting(signal_norm, 1, 0.1, rate, taus, weights)
    _, trace = signal_noise.train(start, setting)
    share = trace.num_off_T / trace.num_active_T
    return share, trace.signal_TxJxM[-1].mean()

  shares, signal = jax.jit(jax.vmap(train))(jnp.array([tau, 0.1 * tau, 0]))
  assert shares[0, 0] == 1
  assert (shares[0] > 0.9).all()
  assert (shares[1] < 0.3).all()
  assert (shares[2] == 0).all()
  assert signal[0] > 3 * signal[2] > 0


def test_batches_are_partitions():
  weights = signal_noise.batch_weights(20, 5, num_epochs=3)
  assert weights.shape == (12, 20)
  np.testing.assert_allclose(weights.sum(1), 1)
  epochs = weights.reshape(3, 4, 20).sum(1)
  np.testing.assert_allclose(epochs, 1 / 5)
  assert (weights[:4] != weights[4:8]).any()
  with pytest.raises(ValueError, match="batch_size=3 does not divide 20"):
    signal_noise.batch_weights(20, 3, num_epochs=1)


def test_threshold():
  found = signal_noise.threshold(
    np.array([1000, 16_000]),
    5.0,
    num_train=20,
    num_patches=2,
    noise_scale=0.5,
  )
  # (5 * 1000 / 20)^(1/4) * 2 * 0.5, and twice as much at 16 d.
  np.testing.assert_allclose(found, [250**0.25, 2 * 250**0.25])
