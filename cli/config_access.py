"""Ask the config service one question, for the commands that read and edit agents, campaigns and numbers."""

import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cli.errors import Failed, WrongUse

if TYPE_CHECKING:
    from config_service.client import ConfigClient
    from config_service.keys import Key

T = TypeVar("T")


def ask(nats: str | None, data: Path | None, question: "Callable[[ConfigClient], Awaitable[T]]") -> T:
    """Return the answer to one question. Raises Failed if no config service answers."""
    from bus.connect import connect
    from bus.errors import NoResponders
    from cli import processes
    from cli.discovery import bus_settings
    from config_service.client import ConfigClient

    async def asking() -> T:
        async with connect(bus_settings(nats, data), "antiphon agent") as bus:
            try:
                return await question(ConfigClient(bus))
            except NoResponders:
                raise Failed("no config service answers: start `antiphon up` or `antiphon run config`") from None

    return processes.run(asking())


def key_of(text: str) -> "Key":
    """Return the agent or campaign that `text` names: `desk` or `desk:summer`. Raises WrongUse."""
    from config_service.keys import read_key
    from schemas.subjects import BadId, check_id

    key = read_key(text)
    try:
        check_id(key.agent, "agent id")
        if ":" in text:
            check_id(key.campaign, "campaign id")
    except BadId as wrong:
        raise WrongUse(str(wrong)) from None
    return key


def author() -> str:
    """Return the user's name, for the list of versions; empty where the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
