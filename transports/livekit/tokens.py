"""The secret of a LiveKit project, in the one process that holds it, and the tokens it signs."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
from livekit import api

from transports.livekit.identities import Attended, Notice, agent_identity, session_of

# `livekit-server --dev` has the secret `secret`; it says itself that this is too short for more than trying it out.
warnings.filterwarnings("ignore", message="The HMAC key is .* below the minimum")

EGRESS_TOKEN_FOR = timedelta(hours=1)  # to join with; who is in the room stays when it runs out
CALLER_TOKEN_FOR = timedelta(minutes=10)  # a page may wait for somebody to allow the microphone
DISMISSED_WITHIN_S = 2.0
ANSWERED_WITHIN_S = 10.0
PEOPLE = {api.ParticipantInfo.Kind.STANDARD, api.ParticipantInfo.Kind.SIP, api.ParticipantInfo.Kind.CONNECTOR}
WORKER_TOKEN_FOR = timedelta(minutes=10)  # it opens one connection, at once


class RoomKeys:
    """Key and secret of the project at `url`."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url = url
        self._key = key
        self._secret = secret

    def __repr__(self) -> str:
        return f"RoomKeys({self.url})"

    def worker_token(self) -> str:
        """Opens `/agent`, on which jobs come."""
        return self._token(api.VideoGrants(agent=True), WORKER_TOKEN_FOR).to_jwt()

    def egress_token(self, room: str, session: str) -> str:
        """Lets the egress of `session` into `room` and no other, as its agent.

        The kind says that it is one; the grant `agent` would let its holder register for the jobs of all rooms.
        """
        grants = api.VideoGrants(
            room_join=True,
            room=room,
            can_publish=True,
            can_subscribe=False,
            can_publish_data=True,
            can_update_own_metadata=True,
        )
        token = self._token(grants, EGRESS_TOKEN_FOR)
        return token.with_identity(agent_identity(session)).with_kind("agent").to_jwt()

    def caller_token(self, room: str, agent_name: str, metadata: str) -> str:
        """Lets one caller into `room`, which is made with this metadata and asks for an agent of this name."""
        grants = api.VideoGrants(room_join=True, room=room, can_publish_sources=["microphone"])
        wanted = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
        config = api.RoomConfiguration(agents=[wanted])
        return self._token(grants, CALLER_TOKEN_FOR).with_identity("caller").with_room_config(config).to_jwt()

    def opened(self, body: str, token: str) -> Notice | None:
        """What the webhook says, None if it is not LiveKit's: signed with our secret, over just this body."""
        receiver = api.WebhookReceiver(api.TokenVerifier(self._key, self._secret))
        try:
            said = receiver.receive(body, token)
        except Exception:  # noqa: BLE001 - the SDK raises plain ones, and those of three libraries: all mean no
            return None
        return Notice(said.id, said.event, said.room.name, said.room.sid)

    async def dispatch(self, room: str, agent_name: str, metadata: str) -> str:
        """Send an agent into a room, which is made if there is none; returns the id of the dispatch. Raises OSError."""
        async with self._service() as service:
            if (await service.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms:
                asked = api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, metadata=metadata)
                return str((await service.agent_dispatch.create_dispatch(asked)).id)
            # made with its dispatch: workers that take every new room would take it twice
            wanted = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
            await service.room.create_room(api.CreateRoomRequest(name=room, agents=[wanted]))
            return str((await service.agent_dispatch.list_dispatch(room))[0].id)

    async def attended(self) -> list[Attended]:
        """Every room in which people are, but for those with agents of others. Raises OSError."""
        found = []
        async with self._service() as service:
            for room in (await service.room.list_rooms(api.ListRoomsRequest())).rooms:
                asked = api.ListParticipantsRequest(room=room.name)
                there = (await service.room.list_participants(asked)).participants
                agents = [one.identity for one in there if one.kind == api.ParticipantInfo.Kind.AGENT]
                if all(map(session_of, agents)) and any(one.kind in PEOPLE for one in there):
                    found.append(Attended(room.name, room.sid, tuple(agents)))
        return found

    async def ask_again(self, room: str) -> None:
        """Have an agent sent into a room that has none, with the metadata it was first asked with. Raises OSError."""
        async with self._service() as service:
            earlier = [asked for asked in await service.agent_dispatch.list_dispatch(room) if not asked.agent_name]
            metadata = earlier[0].metadata if earlier else ""
            await service.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room=room, metadata=metadata))

    async def dismiss(self, room: str, identity: str) -> bool:
        """Take one of us out of a room in which its session is over; False if it had left, as it should."""
        try:
            async with self._service(DISMISSED_WITHIN_S) as service:
                await service.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
        except OSError:  # not there; or nobody to ask, and no room either
            return False
        return True

    @asynccontextmanager
    async def _service(self, within_s: float = ANSWERED_WITHIN_S) -> AsyncIterator[api.LiveKitAPI]:
        """What the server can be asked; every trouble with it is a ConnectionError."""
        try:
            async with asyncio.timeout(within_s), api.LiveKitAPI(self.url, self._key, self._secret) as service:
                yield service
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"LiveKit at {self.url} cannot be reached: {error}") from None
        except api.TwirpError as error:
            raise ConnectionError(f"LiveKit at {self.url} refuses: {error.message}") from None

    def _token(self, grants: api.VideoGrants, ttl: timedelta) -> api.AccessToken:
        return api.AccessToken(self._key, self._secret).with_grants(grants).with_ttl(ttl)
