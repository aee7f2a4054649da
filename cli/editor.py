"""Let a person edit a text in the editor that the environment names."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from cli.errors import Failed

LAST_RESORT = "vi"  # POSIX has it


def edited(text: str, prefix: str) -> Path:
    """Write a text into a new private file, wait until $VISUAL or $EDITOR ends, and return the file.

    prefix: of the file's name. Raises Failed if the editor cannot be started or reports a failure; then the file is
    removed if it holds nothing new.
    """
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or LAST_RESORT)
    number, name = tempfile.mkstemp(".yaml", prefix)
    file = Path(name)
    with os.fdopen(number, "w", encoding="utf-8") as writing:
        writing.write(text)
    try:
        ended = subprocess.run([*editor, name], check=False).returncode
        problem = f"it ended with {ended}" if ended else ""
    except OSError as error:
        problem = str(error.strerror)
    if not problem:
        return file
    kept = f"Your text is kept in {file}." if file.read_text("utf-8") != text else ""
    if not kept:
        file.unlink()
    raise Failed(f"cannot edit with {editor[0]}: {problem}. Set VISUAL or EDITOR to an editor. {kept}")
