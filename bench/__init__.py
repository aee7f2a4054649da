"""Measurements, each a module to run: `python -m bench.pipeline`. Figures as percentiles, with their method."""
