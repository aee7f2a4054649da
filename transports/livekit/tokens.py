"""Tokens that the secret of a LiveKit project signs, and webhooks that it has signed."""

from datetime import timedelta
from typing import NamedTuple

from livekit import api

from transports.livekit.identities import agent_identity
from transports.livekit.settings import LiveKitSettings

WORKER_TOKEN_FOR = timedelta(minutes=10)  # it opens one connection, at once
EGRESS_TOKEN_FOR = timedelta(hours=1)  # to join with; a participant stays in the room when its token expires
CALLER_TOKEN_FOR = timedelta(minutes=10)  # a page may wait until a person has allowed the microphone


class RoomWebhook(NamedTuple):
    """A webhook of LiveKit. id: of the webhook. event: such as `room_finished`. room_id: LiveKit's own."""

    id: str
    event: str
    room: str
    room_id: str


class Tokens:
    """Signs and checks with the secret of one project."""

    def __init__(self, settings: LiveKitSettings) -> None:
        self._key = settings.key
        self._secret = settings.secret.get_secret_value()

    def worker_token(self) -> str:
        """Return a token that registers a worker for jobs."""
        return self._token(api.VideoGrants(agent=True), WORKER_TOKEN_FOR).to_jwt()

    def egress_token(self, room: str, session: str) -> str:
        """Return a token that admits the egress of `session`, as its agent, to `room` only.

        The kind marks an agent. The grant `agent` would let the holder register for the jobs of all rooms.
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
        """Return a token that admits one caller to `room`.

        LiveKit creates the room for the first holder, and dispatches a job for `agent_name` with `metadata`.
        """
        grants = api.VideoGrants(room_join=True, room=room, can_publish_sources=["microphone"])
        dispatch = api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)
        config = api.RoomConfiguration(agents=[dispatch])
        return self._token(grants, CALLER_TOKEN_FOR).with_identity("caller").with_room_config(config).to_jwt()

    def read_webhook(self, body: str, token: str) -> RoomWebhook | None:
        """Return the webhook in `body`; None unless the secret has signed `token` for exactly this body."""
        receiver = api.WebhookReceiver(api.TokenVerifier(self._key, self._secret))
        try:
            webhook = receiver.receive(body, token)
        except Exception:  # noqa: BLE001 - the SDK raises plain exceptions and those of three libraries; all mean no
            return None
        return RoomWebhook(webhook.id, webhook.event, webhook.room.name, webhook.room.sid)

    def _token(self, grants: api.VideoGrants, ttl: timedelta) -> api.AccessToken:
        return api.AccessToken(self._key, self._secret).with_grants(grants).with_ttl(ttl)
