"""The paper's figures and claims, one file each, and what serves them all."""

import logging

# Matplotlib tells at length where it may not write to the home folder.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
