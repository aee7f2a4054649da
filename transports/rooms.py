"""Rooms of LiveKit as ingress knows them: the jobs it is given, and the tokens that its secret makes for others."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from livekit import api

from transports.door import Answer

EGRESS_TOKEN_FOR = timedelta(hours=1)  # to join with; who is in the room stays when it runs out
WORKER_TOKEN_FOR = timedelta(minutes=10)  # it opens one connection, at once


@dataclass(frozen=True)
class Job:
    """A room in which an agent is wanted.

    session: the line that ingress keeps for it: give it back to `Answer` together with `agent`.
    url, token: where ingress joins, hidden and subscribe-only, and with what; the token never goes anywhere else.
    metadata: of `campaign_id`, `lead_id` and `phone_number` those that the room came with.
    """

    id: str
    room: str
    session: str
    agent: str
    url: str
    token: str = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


class Attend(Protocol):
    """What serves one room: the hearing half."""

    def __call__(self, answer: Answer, job: Job) -> Awaitable[None]:
        """Returns when the session in that room is over; raises Refused or OSError with a message for a person."""


class RoomKeys:
    """The secret of a LiveKit project, in the one process that holds it, and the tokens it signs."""

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
        """Lets the egress of `session` into `room` and no other, as its agent."""
        grants = api.VideoGrants(
            room_join=True,
            room=room,
            agent=True,
            can_publish=True,
            can_subscribe=False,
            can_publish_data=True,
            can_update_own_metadata=True,
        )
        return self._sign(grants, EGRESS_TOKEN_FOR, agent_identity(session))

    def _sign(self, grants: api.VideoGrants, ttl: timedelta, identity: str = "") -> str:
        token = api.AccessToken(self._key, self._secret).with_grants(grants).with_ttl(ttl)
        if identity:
            token = token.with_identity(identity).with_kind("agent")
        return token.to_jwt()


def agent_identity(session: str) -> str:
    """Who egress is in the room: the same after a takeover, so that the server lets the old one go."""
    return f"agent-{session}"
