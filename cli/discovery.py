"""Where things are: the data folder, NATS, the database, the weights. The environment is read here."""

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


def data_folder(told: Path | None) -> Path:
    """`--data`, else ANTIPHON_DATA, else ./data."""
    return told or Path(os.environ.get("ANTIPHON_DATA") or "data")


def find_nats(nats: str | None, data: Path | None = None) -> str:
    """`--nats`, else ANTIPHON_NATS_URL, else what runs in the data folder. Raises Failed that says what to do."""
    if nats or os.environ.get("ANTIPHON_NATS_URL"):
        return nats or os.environ["ANTIPHON_NATS_URL"]
    folder = data_folder(data)
    found = read_run_file(folder)
    if found is None:
        from bus.settings import DEFAULT_NATS_URL

        raise Failed(
            f"nothing runs in {folder}: start `antiphon up`, or say where NATS is with --nats URL "
            f"(for example {DEFAULT_NATS_URL}), ANTIPHON_NATS_URL or --data DIR"
        )
    return found["nats"]


def bus_settings(nats: str | None, data: Path | None = None) -> "BusSettings":
    """The settings of the bus that this command talks to."""
    from bus.settings import BusSettings

    return BusSettings.from_environment(os.environ, find_nats(nats, data))


def livekit_settings(url: str | None, data: Path | None = None) -> "LiveKitSettings | None":
    """`--livekit-url`, else ANTIPHON_LIVEKIT_URL, else what runs in the data folder; None if there is none of these.

    Key and secret are in the environment; those of a server that `up` started are in the data folder. Raises Failed.
    """
    from pydantic import ValidationError

    from composition.room_server import RoomServer
    from transports.livekit.settings import LIVEKIT_VARIABLES, LiveKitSettings

    try:
        told = LiveKitSettings.from_environment(os.environ, url)
    except ValidationError as error:
        wrong = [LIVEKIT_VARIABLES[str(problem["loc"][0])] for problem in error.errors()]
        raise Failed(f"LiveKit needs a ws:// or http:// URL, a key and a secret: set {', '.join(wrong)}") from None
    if told:
        return told
    folder = data_folder(data)
    here = (read_run_file(folder) or {}).get("livekit")
    return LiveKitSettings.model_validate({"url": here, **RoomServer.keys(folder)}) if here else None


def livekit_url(told: str | None) -> str:
    """`--livekit-url`, else ANTIPHON_LIVEKIT_URL, else nothing: for who needs no key."""
    return told or os.environ.get("ANTIPHON_LIVEKIT_URL") or ""


def have_rooms() -> None:
    """Raises Failed where the SDK for rooms is not installed."""
    if not importlib.util.find_spec("livekit"):
        raise Failed("rooms need the extra livekit: pip install -e '.[livekit]'")


def database_url(told: str | None, folder: Path) -> str:
    """`--database`, else ANTIPHON_DATABASE_URL, else SQLite in the data folder."""
    return told or os.environ.get("ANTIPHON_DATABASE_URL") or f"sqlite+aiosqlite:///{folder.absolute() / 'antiphon.db'}"


def weights_folder() -> Path:
    """ANTIPHON_WEIGHTS, else the user's cache: clones share what was fetched once."""
    told = os.environ.get("ANTIPHON_WEIGHTS")
    if told:
        return Path(told)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "antiphon" / "weights"
