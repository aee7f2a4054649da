"""The environment of the processes that the kit starts: the one module beside `cli/` that reads the environment."""

import os


def inherited() -> dict[str, str]:
    """Return this process's environment."""
    return dict(os.environ)


def without_antiphon() -> dict[str, str]:
    """Return this process's environment without `ANTIPHON_*`, which would lead a command to another platform."""
    return {name: value for name, value in inherited().items() if not name.startswith("ANTIPHON_")}
