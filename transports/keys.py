"""The secret of a LiveKit project, in the one process that holds it, and the tokens it signs."""

from datetime import timedelta

from livekit import api

from transports.rooms import Notice, agent_identity

EGRESS_TOKEN_FOR = timedelta(hours=1)  # to join with; who is in the room stays when it runs out
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
        return self._sign(api.VideoGrants(agent=True), WORKER_TOKEN_FOR)

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
        return self._sign(grants, EGRESS_TOKEN_FOR, agent_identity(session))

    def opened(self, body: str, token: str) -> Notice | None:
        """What the webhook says, None if it is not LiveKit's: signed with our secret, over just this body."""
        receiver = api.WebhookReceiver(api.TokenVerifier(self._key, self._secret))
        try:
            said = receiver.receive(body, token)
        except Exception:  # noqa: BLE001 - the SDK raises plain ones, and those of three libraries: all mean no
            return None
        return Notice(said.id, said.event, said.room.name, said.room.sid)

    def _sign(self, grants: api.VideoGrants, ttl: timedelta, identity: str = "") -> str:
        token = api.AccessToken(self._key, self._secret).with_grants(grants).with_ttl(ttl)
        if identity:
            token = token.with_identity(identity).with_kind("agent")
        return token.to_jwt()
