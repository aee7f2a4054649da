"""The file by which commands find a running platform: `run.json` in its data folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

RUN_FILE = "run.json"


def write_run_file(folder: Path, addresses: Mapping[str, str]) -> None:
    """Write this process's id and the addresses, whole: a reader never sees half of the file."""
    path = folder / RUN_FILE
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), **addresses, "data": str(folder)}))
    new.replace(path)


def remove_run_file(folder: Path) -> None:
    """Remove the file: nothing runs in this folder any more."""
    (folder / RUN_FILE).unlink(missing_ok=True)


def read_run_file(folder: Path) -> dict[str, str] | None:
    """Return the addresses `{nats, websocket, talk, data, ...}`, None if no platform runs in the folder."""
    try:
        found = json.loads((folder / RUN_FILE).read_text())
        os.kill(int(found.pop("pid")), 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {str(name): str(value) for name, value in found.items()}
