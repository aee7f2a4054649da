"""LiveKit's rooms as a transport of ingress: takes jobs, checks webhooks, offers a room to a caller."""

import asyncio

import msgspec

from schemas.control import SessionOffer
from transports.livekit.dispatch import Dispatch, ServeRoom
from transports.livekit.room_input import serve_room
from transports.livekit.settings import LiveKitSettings
from transports.livekit.tokens import Tokens
from transports.livekit.webhooks import Webhooks
from transports.transport import RoomHost


class LiveKitRooms:
    """The rooms of one LiveKit project. registered: set while jobs can come.

    agent_name: "" takes every new room, a name those rooms that ask for it. default_agent: for a room that names no
    known agent.
    """

    def __init__(
        self,
        settings: LiveKitSettings,
        default_agent: str,
        agent_name: str = "",
        serve_room: ServeRoom = serve_room,
    ) -> None:
        self.default_agent = default_agent
        self.registered = asyncio.Event()
        self._settings = settings
        self._agent_name = agent_name
        self._tokens = Tokens(settings)
        self._serve_room = serve_room

    def offer(self, agent: str, room: str) -> SessionOffer:
        """Return an offer of the new room `room`; LiveKit gives an ingress the job when the caller has entered."""
        metadata = msgspec.json.encode({"agent_id": agent}).decode()
        token = self._tokens.caller_token(room, self._agent_name, metadata)
        return SessionOffer(url=self._settings.url, room=room, token=token)

    async def serve(self, host: RoomHost) -> None:
        """Take jobs and check webhooks until cancelled."""
        await Webhooks(host, self._tokens).open()
        dispatch = Dispatch(
            host, self._settings, self._serve_room, self._agent_name, self.default_agent, self.registered
        )
        await dispatch.run()
