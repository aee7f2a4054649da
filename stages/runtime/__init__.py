"""The runtime of a stage: its worker process, its stage host, and the context of each session."""
