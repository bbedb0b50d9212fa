"""PPO: advantages by hand, rollouts played again, runs of all kinds."""

import importlib
import json

import jax
import numpy as np
import pytest

from analysis import restored
import data
from data import breakout
from run_folder import files
from tests import helpers
import train
from training import games
from training import rollouts
from training import setup as setup_lib
from training import state

SMALL = {
  "num_filters": 1,
  "num_agents": 2,
  "actor_steps": 24,
  "batch_size": 16,
  "epochs_per_rollout": 2,
  "num_epochs": 4,
  "log_every_steps": 2,
  "eval_every_epochs": 4,
  "eval_games": 2,
}


def small(name="ppo_breakout", **fields):
  config = importlib.import_module(f"configs.{name}").get_config()
  config.update_from_flattened_dict({**SMALL, **fields})
  return config


def test_advantages():
  got = rollouts.advantages(
    np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0]]),
    np.array([[False, False], [False, True], [False, False]]),
    np.array([[2.0, 1.0], [1.0, 0.0], [0.0, 3.0]]),
    np.array([2.0, 4.0]),
    discount=0.5,
    gae_lambda=0.5,
  )
  # One-step advantages: -0.5, -1, 5 and, with an end after the second, -1, 2,
  # -1; weights fall to a quarter a step.
  want = [[-0.4375, -0.5], [0.25, 2.0], [5.0, -1.0]]
  np.testing.assert_array_equal(got, want)


@pytest.fixture(scope="module")
def player():
  config = small()
  setup = setup_lib.create(config, data.load(config))
  (start,) = state.create_states(setup)
  policy = rollouts.create_policy(setup)
  player = rollouts.Player(setup, 0, policy)
  played = [
    player.refresh(start.weights, s, start.rng).splits["train"] for s in (0, 6)
  ]
  return setup, start, policy, player, played


def test_rollouts_say_what_was_played(player):
  """The same games, seen and rewarded, come of the actions that they name."""
  setup, start, policy, player, played = player
  c = setup.config
  shape = c.actor_steps, c.num_agents
  again = games.Games(
    c.num_agents,
    sticky_actions=c.sticky_actions,
    seed=(c.seed, games.TRAINING, 0),
  )
  for step, rollout in zip((0, 6), played, strict=True):
    columns = dict(zip(breakout.COLUMNS, rollout.targets.T, strict=True))
    frames = rollout.inputs.reshape(*shape, *breakout.FRAMES)
    rewards, over = np.empty(shape), np.empty(shape, bool)
    for t, actions in enumerate(columns["action"].reshape(shape)):
      np.testing.assert_array_equal(again.frames, frames[t])
      outcome = again.step(actions)
      rewards[t], over[t] = np.sign(outcome.rewards), outcome.over
    outputs = setup.model.apply(
      {"params": start.params}, setup.dataset.normalize(rollout.inputs)
    )
    log_probs = jax.nn.log_softmax(outputs[:, :-1])
    taken = columns["action"].astype(int)
    np.testing.assert_allclose(
      columns["log_prob"], log_probs[np.arange(len(taken)), taken], rtol=1e-5
    )
    values = np.asarray(outputs[:, -1]).reshape(shape)
    last = policy(start.weights, again.frames, start.rng, 0)[2]
    found = rollouts.advantages(
      rewards, over, values, last, discount=0.99, gae_lambda=0.95
    )
    returns = (found + values).ravel()
    np.testing.assert_allclose(columns["return"], returns, atol=1e-5)
    standard = (found - found.mean()) / found.std()
    np.testing.assert_allclose(
      columns["advantage"], standard.ravel(), atol=1e-3
    )
    # Falls from 0.1 to 0 over the 12 steps.
    np.testing.assert_allclose(
      columns["clip_range"], 0.1 * (1 - step / 12), rtol=1e-6
    )


def test_zero_weights_play_at_random(player):
  _, start, policy, _, played = player
  zero = jax.tree.map(np.zeros_like, start.weights)
  frames = played[0].inputs
  actions, log_probs, values = policy(zero, frames, jax.random.key(1), 0)
  np.testing.assert_allclose(log_probs, -np.log(4), rtol=1e-6)
  np.testing.assert_array_equal(values, 0)
  assert set(np.unique(actions)) == set(range(breakout.NUM_ACTIONS))


def test_a_sweep_of_pruned_players(tmp_path):
  """Stopped in the middle of a rollout, resumed, evaluated and measured."""
  config = small(
    "ppo_breakout_short",
    **{"sweep.rho": (0.0, 0.05), "sparsity": 0.5, "pruner": "random"},
  )
  calls = iter(range(4))
  with pytest.raises(train.Stopped):
    train.train_and_evaluate(
      config, str(tmp_path), should_stop=lambda: next(calls) == 3
    )
  train.train_and_evaluate(config, str(tmp_path))
  result = json.loads((tmp_path / files.RESULT).read_text())
  lines = files.read_lines(tmp_path)
  runs = restored.load(tmp_path)
  again = train.evaluate(str(tmp_path))
  for run, record, evaluated in zip(runs, result["runs"], again, strict=True):
    assert record["status"] == "finished"
    own = [line for line in lines if line["run"] == record["run"]]
    assert [line["step"] for line in own] == [2, 4, 6, 8, 10, 12]
    # Of a rho of 0, the perturbed loss is the loss.
    moved = {line["sharpness"] != 0 for line in own if "sharpness" in line}
    assert moved == {run.config.rho > 0}
    assert record["best"]["chosen_by"] == "test_score"
    assert evaluated["test_score"] == record["final"]["test_score"]
    objective = run.objective()
    assert objective.dim == record["num_unpruned_parameters"]
    assert objective.dim < 0.6 * record["num_parameters"]
    # What a run plays itself has advantages of mean 0 and ratios of 1.
    _, log_probs, _, returns, _ = (
      run.setup.datasets[run.index].splits["train"].targets.T
    )
    value = float(objective.value(objective.weights))
    assert np.isfinite(value)
    assert abs(value) < 0.5 * np.square(returns).max() + 0.01 * np.log(4)
    assert (log_probs < 0).all()
  weights = [jax.tree.leaves(run.weights["params"]) for run in runs]
  assert helpers.max_difference(*weights) > 0
