"""The kit that tests and benchmarks share."""
