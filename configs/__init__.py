"""Configurations: `base.get_config()`, `fields/`, and a file a workload."""
