"""The calls that browsers make through this gateway: a claimed session for each, its events, and its reader's token."""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Literal

from bus import journal
from bus.connect import Bus
from bus.errors import BusError
from bus.session_client import SessionClient, SessionRefused
from gateway.feed import Feed
from schemas import events
from schemas.control import SessionOffer
from schemas.subjects import BadId

CLAIM_WITHIN_S = 3.0
MAX_CALLS = 500  # of a gateway; each keeps its last messages
OPENED_WITHIN_S = 30.0  # a claimed session that no caller joins is forgotten
KEPT_FOR_S = 15.0  # after the end, for a page that still reads the events
LOOK_EVERY_S = 1.0
ENTERED_WITHIN_S = 60.0  # a caller allows the microphone before entering a room
LOOK_FOR_SESSION_S = 0.05  # an ingress serves a room soon after the caller has entered


class Refused(Exception):
    """The gateway cannot give this call; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Call:
    """A page's session.

    id: of the session, or the name of its room. token: the page shows it to read events. until: monotonic seconds.
    session: set at once, or as soon as an ingress serves the room. following: ends the subscriptions.
    """

    id: str
    offer: SessionOffer
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    feed: Feed = field(default_factory=Feed)
    following: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False)
    session: asyncio.Future[str] = field(default_factory=asyncio.Future, repr=False)
    finding: asyncio.Task[None] | None = None
    until: float = field(default_factory=lambda: time.monotonic() + OPENED_WITHIN_S)


class Sessions:
    """Every call of this gateway, by its id."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = SessionClient(bus)
        self._calls: dict[str, Call] = {}

    async def open(self, agent: str, transport: Literal["websocket", "livekit"]) -> Call:
        """Claim a session with `agent` and follow its events from the first one on. Raises Refused."""
        if len(self._calls) >= MAX_CALLS:
            raise Refused(503, "this gateway has too many calls: try again in a moment")
        offer = await self._claim(agent, transport)
        call = Call(offer.session or offer.room, offer)
        self._calls[call.id] = call
        if offer.room:
            call.until = time.monotonic() + ENTERED_WITHIN_S
            call.finding = asyncio.create_task(self._find_session(call))
        else:
            call.session.set_result(offer.session)
            await self._follow(call, offer.session)
        return call

    def find(self, call_id: str, token: str) -> Call:
        """Return the call, if the token is right. Raises Refused."""
        call = self._calls.get(call_id)
        if call is None or not secrets.compare_digest(call.token.encode(), token.encode()):
            raise Refused(404, "there is no such session, or it is over")
        return call

    async def hang_up(self, call: Call) -> None:
        """End the session; in a room, as soon as an ingress serves the room. The caller sets the deadline."""
        session = await asyncio.shield(call.session)
        while not (call.feed.over or await self._client.close(session)):  # ingress does not have the session yet
            await asyncio.sleep(LOOK_FOR_SESSION_S)

    async def attend(self) -> None:
        """Forget calls that are over, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            for call in list(self._calls.values()):
                if call.feed.state.started and not call.feed.over:
                    call.until = now + KEPT_FOR_S
                elif call.until < now:
                    del self._calls[call.id]
                    await self._forget(call)

    async def close(self) -> None:
        """Forget every call; their readers end."""
        for call in self._calls.values():
            await self._forget(call)
        self._calls.clear()

    async def _forget(self, call: Call) -> None:
        call.feed.close()
        if call.finding:
            call.finding.cancel()
        await call.following.aclose()

    async def _follow(self, call: Call, session: str) -> None:
        await call.following.enter_async_context(self._client.subscribed(call.feed.receive, session=session))

    async def _find_session(self, call: Call) -> None:
        """Ask until an ingress serves the room, then follow its session from the first event on."""
        while (session := await self._client.session_in(call.offer.room)) is None:
            await asyncio.sleep(LOOK_FOR_SESSION_S)
        call.session.set_result(session)
        call.feed.hold()
        await self._follow(call, session)
        earlier: list[events.Event] = []
        with suppress(BusError):  # without a journal the first events may be missing, and the call goes on
            for data in await journal.read(self._bus, session):
                with suppress(events.BadEvent):
                    earlier.append(events.decode(data))
        call.feed.release(earlier)

    async def _claim(self, agent: str, transport: Literal["websocket", "livekit"]) -> SessionOffer:
        try:
            return await self._client.claim(agent, room=transport == "livekit", within_s=CLAIM_WITHIN_S)
        except BadId as bad:
            raise Refused(400, str(bad)) from None
        except SessionRefused as refused:
            raise Refused(404 if refused.refusal == "unknown_agent" else 503, str(refused)) from None
