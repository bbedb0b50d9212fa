"""Configurations: `base.py` declares every field, one file per workload."""
