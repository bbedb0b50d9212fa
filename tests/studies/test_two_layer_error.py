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
  gains = two_layer_error._gains(pd.DataFrame(rows))
  found = gains[gains["seed"] == 0].set_index("width")
  # The test losses are 10 less the validation losses of the best.
  assert found.loc[100, ["base", "sam", "rho"]].to_list() == [6, 7, 0.1]
  assert found.loc[500, ["base", "sam", "rho"]].to_list() == [5, 8, 0.5]
