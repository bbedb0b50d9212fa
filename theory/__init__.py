"""Theorems about small models as programs; they know only JAX and NumPy."""
