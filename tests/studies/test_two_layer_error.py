"""The study of the two-layer network: how it tunes."""

import pandas as pd

from studies import two_layer_error


def test_settings_are_tuned_in_pairs():
  # Validation loss of seed 0 by learning rate and rho; seed 1 has 1 more.
  values = {
    "100": {(0.1, 0): 5, (0.2, 0): 4, (0.1, 0.1): 3, (0.2, 0.1): 6},
    "500": {(0.1, 0): 5, (0.2, 0): 6, (0.1, 0.1): 4, (0.2, 0.5): 2},
  }
  rows = [
    {
      "num_neurons": width,
      "learning_rate": rate,
      "rho": rho,
      "seed": seed,
      # The best on the validation split is not the best on the test set.
      "final_validation_loss": loss + seed,
      "final_test_loss": 10 - loss,
      "validation_fraction": 0.2,
      "status": "finished",
    }
    for width, losses in values.items()
    for (rate, rho), loss in losses.items()
    for seed in (0, 1)
  ]
  best = two_layer_error.tuned(pd.DataFrame(rows))
  assert len(best) == 8
  found = best[best["seed"] == 0].sort_values(["width", "rho"])
  settings = found[["width", "learning_rate", "rho"]].to_numpy().tolist()
  assert settings == [
    [100, 0.2, 0],
    [100, 0.1, 0.1],
    [500, 0.1, 0],
    [500, 0.2, 0.5],
  ]
