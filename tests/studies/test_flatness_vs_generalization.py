"""The study of flatness and generalization: its rows and measures."""

import pytest

from studies import flatness_vs_generalization as study
from studies.kit import xor


def test_stages_of_a_row_of_table_2():
  (cell,) = (
    cell
    for cell in study.STUDY.cells("paper")
    if cell.labels["shape"] == "softplus-sam"
  )
  c = cell.config
  # .0005, .001, .005 and .05, .1, 1, for 1e5, 1e5 and 5e3 epochs.
  assert (c.learning_rate, c.rho, c.num_epochs) == (0.0005, 0.05, 205_000)
  assert c.stage_starts == pytest.approx((100 / 205, 200 / 205))
  assert c.stage_lr_factors == pytest.approx((2, 10))
  assert c.stage_rho_factors == pytest.approx((2, 20))
  assert (c.batch_size, c.weight_decay, c.num_neurons) == (1, 0, (500,))


def test_every_row_of_table_2_is_there():
  found = {row.figure for row in xor.ROWS.values()} - {""}
  # Figure 3 is no training, and Figure 2 has no baseline.
  pairs = {f"{n}{side}" for n in (1, *range(4, 12)) for side in "ab"}
  assert found == pairs | {"2a"}


def test_known_minima():
  found = [study.known_minimum(f"{name}-sam") for name in ("no_bias", "bias")]
  assert found == pytest.approx([4 * 30**0.5, 4 * 31**0.5])
  found = [study.known_minimum(f"{name}-sam") for name in ("sim_bn", "sim_ln")]
  assert found == [8, 2]
