"""Rooms as ingress knows them: the jobs it is given, and who serves them."""

import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from transports.transport import Answer


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


class Notice(NamedTuple):
    """What a webhook says: an event of a room."""

    id: str
    event: str
    room: str
    room_id: str


class Attended(NamedTuple):
    """A room with people in it. ours: agents there that are called as ours are, living or dead."""

    name: str
    id: str
    ours: tuple[str, ...] = ()


class Reaped(Protocol):
    """What a LiveKit is asked about those whom nobody serves."""

    async def attended(self) -> list[Attended]:
        """Every room in which people are, but for those with agents of others. Raises OSError."""

    async def dismiss(self, room: str, identity: str) -> bool:
        """Take one of us out of a room in which its session is over; False if it had left, as it should."""

    async def ask_again(self, room: str) -> None:
        """Have an agent sent into a room that has none. Raises OSError."""


class Keys(Reaped, Protocol):
    """The secret of a LiveKit project, for what it can sign and tell."""

    url: str

    def worker_token(self) -> str:
        """Opens `/agent`, on which jobs come."""

    def egress_token(self, room: str, session: str) -> str:
        """Lets the egress of `session` into `room` and no other, as its agent."""

    def caller_token(self, room: str, agent_name: str, metadata: str) -> str:
        """Lets one caller into `room`, which is made with this metadata and asks for an agent of this name."""

    def opened(self, body: str, token: str) -> Notice | None:
        """What the webhook says, None if it is not LiveKit's."""


def ear_identity(session: str) -> str:
    """Who ingress is in the room, where nobody sees it."""
    return f"ingress-{session}"


def agent_identity(session: str) -> str:
    """Who egress is in the room: the same after a takeover, so that the server lets the old one go."""
    return f"agent-{session}"


def session_of(identity: str) -> str:
    """The session whose ingress or egress this is; empty for others, who like to begin their names so, too."""
    found = re.fullmatch("(?:ingress|agent)-([0-9a-f]{32})", identity)
    return found[1] if found else ""
