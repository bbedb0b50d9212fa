"""The paper's figures and claims, one file each, and what serves them all."""

import analysis as analysis  # Which silences Matplotlib, before a study has it.
