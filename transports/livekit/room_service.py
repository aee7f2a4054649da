"""Requests to LiveKit's room service: which rooms have people, dispatch an agent, remove a participant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from livekit import api

from transports.livekit.identities import session_of
from transports.livekit.settings import LiveKitSettings

REMOVED_WITHIN_S = 2.0
ANSWERED_WITHIN_S = 10.0
HUMAN = {api.ParticipantInfo.Kind.STANDARD, api.ParticipantInfo.Kind.SIP, api.ParticipantInfo.Kind.CONNECTOR}


class OccupiedRoom(NamedTuple):
    """A room with people in it.

    id: LiveKit's own; a later room of the same name has another. people: LiveKit's ids of the people, new at each
    entry. agents: identities of agents of Antiphon in the room, of living or dead sessions.
    """

    name: str
    id: str
    people: frozenset[str]
    agents: tuple[str, ...] = ()


class RoomService:
    """The room service of one LiveKit project."""

    def __init__(self, settings: LiveKitSettings) -> None:
        self._settings = settings

    async def dispatch(self, room: str, agent_name: str, metadata: str) -> str:
        """Dispatch an agent into a room, which is created if it does not exist. Return the dispatch's id.

        Raises ConnectionError.
        """
        async with self._service() as service:
            if (await service.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms:
                request = api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, metadata=metadata)
                return str((await service.agent_dispatch.create_dispatch(request)).id)
            # The room is created with its dispatch: workers that take every new room would otherwise take it twice.
            dispatch = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
            await service.room.create_room(api.CreateRoomRequest(name=room, agents=[dispatch]))
            return str((await service.agent_dispatch.list_dispatch(room))[0].id)

    async def occupied_rooms(self) -> list[OccupiedRoom]:
        """Return every room that has people and no agent of other software. Raises ConnectionError."""
        found = []
        async with self._service() as service:
            for room in (await service.room.list_rooms(api.ListRoomsRequest())).rooms:
                request = api.ListParticipantsRequest(room=room.name)
                participants = (await service.room.list_participants(request)).participants
                agents = [one.identity for one in participants if one.kind == api.ParticipantInfo.Kind.AGENT]
                people = frozenset(one.sid for one in participants if one.kind in HUMAN)
                if people and all(map(session_of, agents)):
                    found.append(OccupiedRoom(room.name, room.sid, people, tuple(agents)))
        return found

    async def dispatch_again(self, room: str) -> None:
        """Dispatch an agent into a room that has none, with the metadata of its first dispatch.

        Raises ConnectionError.
        """
        async with self._service() as service:
            earlier = [one for one in await service.agent_dispatch.list_dispatch(room) if not one.agent_name]
            metadata = earlier[0].metadata if earlier else ""
            await service.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room=room, metadata=metadata))

    async def remove(self, room: str, identity: str) -> bool:
        """Remove a participant whose session is over; return False if it had left, or LiveKit does not answer."""
        try:
            async with self._service(REMOVED_WITHIN_S) as service:
                await service.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
        except ConnectionError:
            return False
        return True

    @asynccontextmanager
    async def _service(self, within_s: float = ANSWERED_WITHIN_S) -> AsyncIterator[api.LiveKitAPI]:
        """Yield a client of the service; every failure is a ConnectionError."""
        url, key, secret = self._settings.url, self._settings.key, self._settings.secret.get_secret_value()
        try:
            async with asyncio.timeout(within_s), api.LiveKitAPI(url, key, secret) as service:
                yield service
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"LiveKit at {url} cannot be reached: {error}") from None
        except api.TwirpError as error:
            raise ConnectionError(f"LiveKit at {url} refuses: {error.message}") from None
