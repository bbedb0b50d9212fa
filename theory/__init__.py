"""What theorems say, as functions of NumPy and JAX alone."""
