"""The calls that browsers make through this gateway: a line claimed for each, its events, and who may hear them."""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from bus import journal
from bus.connect import Bus, Subscription
from bus.errors import BusError, NoResponders
from gateway.feed import Feed
from schemas import control, subjects
from schemas.control import RoomHeld
from schemas.subjects import BadId, check_id

CLAIM_WITHIN_S = 3.0
MAX_CALLS = 500  # of a gateway; each keeps its last messages
OPENED_WITHIN_S = 30.0  # a line that was claimed and never called is forgotten
KEPT_FOR_S = 15.0  # after the end, for a page that has to read it
LOOK_EVERY_S = 1.0
ENTERED_WITHIN_S = 60.0  # who may enter a room has to allow the microphone first
HELD_EVERY_S, HELD_WITHIN_S = 0.05, 0.15  # looking for who serves a room: it is soon after somebody has entered
CLOSE_WITHIN_S = 0.5


class Refused(Exception):
    """There is no call; `status` is HTTP's word for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Call:
    """A session of a page. line: at ingress, or a room. token: of ours, for who was given it. until: monotonic.

    id: the session's, or the room's. session: known once somebody serves the room.
    """

    id: str
    line: control.SessionOffer
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    feed: Feed = field(default_factory=Feed)
    subscriptions: list[Subscription] = field(default_factory=list)
    session: asyncio.Future[str] = field(default_factory=asyncio.Future, repr=False)
    finding: asyncio.Task[None] | None = None
    until: float = field(default_factory=lambda: time.monotonic() + OPENED_WITHIN_S)


class Sessions:
    """Every call of this gateway by its session."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[str, Call] = {}

    async def open(self, agent: str, transport: Literal["websocket", "livekit"]) -> Call:
        """A line to `agent`, whose events are followed from the first one on. Raises Refused."""
        if len(self._calls) >= MAX_CALLS:
            raise Refused(503, "this gateway has too many calls: try again in a moment")
        line = await self._claim(agent, transport)
        call = Call(line.session or line.room, line)
        self._calls[call.id] = call
        if line.room:
            call.until = time.monotonic() + ENTERED_WITHIN_S
            call.finding = asyncio.create_task(self._find_session(call))
        else:
            call.session.set_result(line.session)
            await self._follow(call, line.session)
        return call

    def find(self, call_id: str, token: str) -> Call:
        """The call, for who has its token. Raises Refused."""
        call = self._calls.get(call_id)
        if call is None or not secrets.compare_digest(call.token.encode(), token.encode()):
            raise Refused(404, "there is no such session, or it is over")
        return call

    async def hang_up(self, call: Call) -> None:
        """End it now; one in a room that nobody serves yet, as soon as somebody does. The caller sets the deadline."""
        session = await asyncio.shield(call.session)
        close = control.encode(control.Close(session, "hangup"))
        while not call.feed.over:
            with suppress(BusError):  # its ingress has it not yet, or the bus is away
                await self._bus.request(subjects.control(session, subjects.INGRESS, "close"), close, CLOSE_WITHIN_S)
                return
            await asyncio.sleep(HELD_EVERY_S)

    async def attend(self) -> None:
        """Forget what is over."""
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
        """Forget everything: readers come to their end."""
        for call in self._calls.values():
            await self._forget(call)
        self._calls.clear()

    async def _forget(self, call: Call) -> None:
        call.feed.close()
        if call.finding:
            call.finding.cancel()
        for subscription in call.subscriptions:
            await subscription.unsubscribe()

    async def _follow(self, call: Call, session: str) -> None:
        for plane in (subjects.events(session=session), subjects.ephemerals(session=session)):
            call.subscriptions.append(await self._bus.subscribe(plane, lambda message: call.feed.hear(message.data)))
        await self._bus.flush(media=False)

    async def _find_session(self, call: Call) -> None:
        """Who serves the room knows the session: asked from when the page may enter, until somebody answers."""
        while True:
            try:
                answer = await self._bus.request(subjects.room(call.line.room, "held"), b"", HELD_WITHIN_S)
            except BusError:
                await asyncio.sleep(HELD_EVERY_S)
                continue
            session = control.decode(answer, RoomHeld).session
            call.session.set_result(session)
            call.feed.hold()
            await self._follow(call, session)
            earlier: list[bytes] = []
            with suppress(BusError):  # without a journal the first events may be missing, and the call goes on
                earlier = await journal.read(self._bus, session)
            call.feed.release(earlier)
            return

    async def _claim(self, agent: str, transport: Literal["websocket", "livekit"]) -> control.SessionOffer:
        try:
            asked = control.encode(control.ClaimSession(check_id(agent, "agent id"), room=transport == "livekit"))
            answer = await self._bus.request(subjects.claim(subjects.INGRESS), asked, CLAIM_WITHIN_S)
        except BadId as bad:
            raise Refused(400, str(bad)) from None
        except NoResponders:
            raise Refused(503, "nobody is there to take the call: no ingress is running, or all are full") from None
        except BusError:
            raise Refused(503, f"no ingress answered within {CLAIM_WITHIN_S:.0f} s") from None
        line = control.decode(answer, control.SessionOffer)
        if line.refused:
            status = 404 if line.refused == "unknown_agent" else 503
            raise Refused(status, line.detail or f"the call was refused: {line.refused}")
        return line
