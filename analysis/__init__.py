"""What is read back of runs: tables, statistics, words and figures."""

import logging

# Matplotlib tells at length where it may not write to the home folder. This is
# read before it is imported.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
