"""The failures of commands: each is one line with cause and remedy, and an exit code."""

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class Failed(Exception):
    """Raised when a command cannot do its work. The text is for users."""


class WrongUse(Failed):
    """Raised when a command was called wrongly: exit code 2."""
