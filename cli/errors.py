"""How a command fails: one line that says what happened and what to do, and an exit code."""

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class Failed(Exception):
    """The work failed; the text is for a person."""


class WrongUse(Failed):
    """The command was called with something that cannot be: exit code 2."""
