"""The command `antiphon`, one file per command: the composition root, and the only reader of the environment."""
