"""The paper's figures and claims, one file each, and what serves them all."""
