"""Early stopping: after Shin et al. (UAI 2025), Figure 5d.

Claim: without early stopping the gain by SAM does not grow with the number of
parameters. It is the paper's, of part-of-speech tagging, which
`regularization.py` has; this study asks the same of other workloads, under
label noise. `kit/epochs.py` says what is compared.

  laptop: MLPs [w, w], w = 4 to 128, on digits with 25, 50 and no label noise,
    10 seeds, evaluated every 2 epochs; rho by the validation split.
  paper: ResNet-18, 4 to 64 filters, on CIFAR-10 with the same noise, 3 seeds,
    evaluated every epoch. Nothing is held out, so the stopping epoch is the
    best test epoch and rho is chosen on the test set.
"""

from matplotlib import figure as mpl_figure
import pandas as pd

from studies.kit import conditions
from studies.kit import epochs
from studies.kit import findings
from studies.kit import grids
from studies.kit import panels
from studies.kit.panels import Panel
from studies.kit.study import Study

RATES = (0.25, 0.5)

presets = {
  "laptop": (
    grids.DIGITS_MLP.change(
      shapes=grids.widths(4, 8, 16, 32, 64, 128),
      # Without noise nothing is memorized that early stopping would spare.
      sweep={"label_noise": (*RATES, 0.0)},
      fields={"eval_every_epochs": 2},
    ),
  ),
  "paper": (
    grids.CIFAR_RESNET.change(
      metric="final_test_accuracy",
      shapes=grids.resnets(4, 16, 32, 64),
      sweep={"label_noise": RATES},
    ),
  ),
}


def claims(results: pd.DataFrame) -> list[findings.Finding]:
  return epochs.claims(conditions.of(results))


def figure(results: pd.DataFrame) -> mpl_figure.Figure:
  found = conditions.of(results)
  return panels.figure(
    *(
      Panel(f"gain, {conditions.noise(c.label_noise)}", epochs.draw_gains, (c,))
      for c in found
    ),
    Panel(found[-1].title, epochs.draw_accuracies, (found[-1],)),
  )


STUDY = Study(
  paper="Figure 5d, of another workload",
  claim=(
    "without early stopping SAM's gain does not grow with the number of"
    " parameters"
  ),
  presets=presets,
  claims=claims,
  figure=figure,
)
