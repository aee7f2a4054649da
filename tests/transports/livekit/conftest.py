"""One livekit-server and one house for the rooms of a module; every test has a room of its own."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import pytest_asyncio

pytest.importorskip("livekit", reason="the extra livekit is not installed: pip install -e '.[livekit]'")

from antiphon_testing.bus import bus, nats
from antiphon_testing.platform import open_platform
from antiphon_testing.room_server import RoomServer, room_server
from tests.transports.livekit.building import ECHO, Building
from transports.livekit.room_input import serve_room
from transports.livekit.rooms import LiveKitRooms

__all__ = ["bus", "nats"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoomServer]:
    with room_server(tmp_path_factory.mktemp("livekit")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(
    request: pytest.FixtureRequest, server: RoomServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Building]:
    rooms = LiveKitRooms(server.settings, ECHO.id, serve_room=partial(serve_room, grace_s=request.module.GRACE_S))
    async with open_platform(tmp_path_factory.mktemp("house"), [ECHO], rooms=rooms) as home:
        yield Building(home, server, rooms)
