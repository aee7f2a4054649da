"""A real PostgreSQL of the test's own: a temporary folder, a unix socket, nobody else's data."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PORT = 5432  # names the socket only: it listens on no network
WITHIN_S = 30


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: Debian keeps them off the PATH. None if PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A running server in an empty folder; yields its URL, and stops it."""
    programs = binaries()
    assert programs, "PostgreSQL is not installed"
    data = folder / "data"
    _run(programs / "initdb", "-D", data, "-U", "antiphon", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
    settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -p {PORT}"
    _run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", settings, "start")
    try:
        yield f"postgresql://antiphon@/postgres?host={folder}&port={PORT}"
    finally:
        _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@contextmanager
def folder() -> Iterator[Path]:
    """A short path (a socket's has 107 characters at most) that the server's user may enter."""
    with tempfile.TemporaryDirectory(prefix="pg-") as made:
        if os.getuid() == 0:
            shutil.chown(made, "postgres")
        yield Path(made)


def new_database(server: str, name: str) -> str:
    """The URL of a new database on the server at `server`."""
    programs = binaries()
    assert programs
    name = "".join(letter for letter in name.lower() if letter.isalnum())
    _run(programs / "createdb", "--maintenance-db", server, name)
    return server.replace("/postgres?", f"/{name}?")


def _run(*command: object) -> None:
    """PostgreSQL refuses to run as root: then it runs as the user that its package made."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    told = subprocess.run(
        as_user + [str(word) for word in command],
        check=False, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN_S,
    )  # fmt: skip
    assert told.returncode == 0, f"{command[0]}: {told.stdout} {told.stderr}"
