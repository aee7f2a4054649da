"""Find the data folder, NATS, LiveKit, the database and the model files, by option, environment or run file."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import Failed
from composition.run_file import read_run_file

if TYPE_CHECKING:
    from bus.settings import BusSettings
    from transports.livekit.settings import LiveKitSettings

EXAMPLES = Path(__file__).parents[1] / "examples"


def data_folder(given: Path | None) -> Path:
    """Return `--data`, else ANTIPHON_DATA, else ./data."""
    return given or Path(os.environ.get("ANTIPHON_DATA") or "data")


def find_nats(nats: str | None, data: Path | None = None) -> str:
    """Return `--nats`, else ANTIPHON_NATS_URL, else the NATS that runs in the data folder. Raises Failed."""
    if nats or os.environ.get("ANTIPHON_NATS_URL"):
        return nats or os.environ["ANTIPHON_NATS_URL"]
    folder = data_folder(data)
    found = read_run_file(folder)
    if found is None:
        from bus.settings import DEFAULT_NATS_URL

        raise Failed(
            f"cannot find NATS: nothing runs in {folder}. Start `antiphon up`, or set --nats URL "
            f"(for example {DEFAULT_NATS_URL}), ANTIPHON_NATS_URL or --data DIR."
        )
    return found["nats"]


def bus_settings(nats: str | None, data: Path | None = None) -> "BusSettings":
    """Return the settings of the connection to NATS. Raises Failed."""
    from bus.settings import BusSettings

    return BusSettings.from_environment(os.environ, find_nats(nats, data))


def livekit_settings(url: str | None, data: Path | None = None) -> "LiveKitSettings | None":
    """Return the LiveKit of `--livekit-url`, else ANTIPHON_LIVEKIT_URL, else the data folder; None without any.

    Key and secret are in the environment; those of a server that `up` started are in the data folder. Raises Failed.
    """
    from pydantic import ValidationError

    from composition.room_server import RoomServer
    from transports.livekit.settings import LIVEKIT_VARIABLES, LiveKitSettings

    try:
        named = LiveKitSettings.from_environment(os.environ, url)
    except ValidationError as error:
        wrong = [LIVEKIT_VARIABLES[str(problem["loc"][0])] for problem in error.errors()]
        raise Failed(
            f"cannot use LiveKit: it needs a ws:// or http:// URL, a key and a secret. Set {', '.join(wrong)}."
        ) from None
    if named:
        return named
    folder = data_folder(data)
    here = (read_run_file(folder) or {}).get("livekit")
    return LiveKitSettings.model_validate({"url": here, **RoomServer.keys(folder)}) if here else None


def livekit_url(given: str | None) -> str:
    """Return `--livekit-url`, else ANTIPHON_LIVEKIT_URL, else "", for a process that needs no key."""
    return given or os.environ.get("ANTIPHON_LIVEKIT_URL") or ""


def have_rooms() -> None:
    """Raise Failed if LiveKit's SDK is not installed."""
    if not importlib.util.find_spec("livekit"):
        raise Failed("cannot serve rooms: the extra livekit is not installed. Run pip install -e '.[livekit]'.")


def database_url(given: str | None, folder: Path) -> str:
    """Return `--database`, else ANTIPHON_DATABASE_URL, else SQLite in the data folder."""
    return (
        given or os.environ.get("ANTIPHON_DATABASE_URL") or f"sqlite+aiosqlite:///{folder.absolute() / 'antiphon.db'}"
    )


def weights_folder() -> Path:
    """Return the folder of model files: ANTIPHON_WEIGHTS, else the user's cache, which all checkouts share."""
    named = os.environ.get("ANTIPHON_WEIGHTS")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "antiphon" / "weights"
