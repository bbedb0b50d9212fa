"""How a process starts and stops: JAX's set-up, command lines, signals."""
