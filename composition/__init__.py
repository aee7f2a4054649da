"""How a worker, a service and a whole platform are put together. `cli/` and the test kit share it."""
