"""Ways to reach a caller. `transport.py` has their Protocols, `outputs.py` opens a caller output by name."""
