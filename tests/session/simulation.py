"""A session in virtual time whose stages live through it, each behind a network that may lag.

llm, tts and egress are the real stages. stt numbers utterances as the real one does, for a caller and a recognizer
that keep the protocol. Each receiver gets the events of each publisher in order, and those of different publishers in
any order.
"""

from collections import deque
from collections.abc import Callable
from random import Random

import msgspec

from antiphon_testing.stage import EPOCH, Call
from schemas import events
from schemas.audio import CALLER_HZ
from schemas.events import (
    MOST_UNFINISHED,
    Event,
    SessionOpened,
    TextReceived,
)
from session.recoverable import SttRecoverable
from session.state import SessionState, fold, locate
from stages.stt.contract import HeardFinal, HeardInterim
from stages.stt.utterances import NOTHING_HEARD, Utterances
from stages.stt.voice_activity import Offset

STAGES = ("ingress", "stt", "llm", "tts", "egress")
HEARTBEAT_MS = 100
AGENT = {
    "greeting": "Hello. Who is there?",
    "tts": {"provider": "scripted", "options": {"first_ms": 10, "every_ms": 20}},
    "llm": {"provider": "scripted", "options": {"replies": ["At nine. On Sunday at ten, as ever.", "No.", "..."]}},
}


class Stt:
    """A caller and a recognizer, with the utterances of the real stage."""

    def __init__(self) -> None:
        self._utterances = Utterances(NOTHING_HEARD, "scripted")
        self._speaking = False
        self._transcribed = 0  # sample

    def recoverable(self) -> SttRecoverable:
        return self._utterances.recoverable

    def start(self, at: int) -> list[Event]:
        if self._speaking or len(self._utterances.unfinished) >= MOST_UNFINISHED:
            return []
        self._speaking = True
        return self._utterances.speech_started(at)

    def interim(self, at: int, text: str) -> list[Event]:
        return self._utterances.heard_interim(HeardInterim(text, self._transcribed, at))

    def stop(self, at: int) -> list[Event]:
        if not self._speaking:
            return []
        self._speaking = False
        return self._utterances.speech_ended(Offset(at, 0, 0), 0, 400)

    def transcribe(self, at: int, text: str, random: Random) -> list[Event]:
        """A final of the audio up to now, or up to the end of the oldest utterance; or none in time."""
        unfinished = self._utterances.unfinished
        if unfinished and unfinished[0].until is not None and random.random() < 0.2:
            return self._utterances.force_last(unfinished[0])
        until = unfinished[0].until if unfinished and random.random() < 0.7 else None
        start, self._transcribed = self._transcribed, max(self._transcribed, at if until is None else until)
        return self._utterances.heard_final(
            HeardFinal(text, start, self._transcribed, end_of_turn=random.choice([None, None, None, True, False]))
        )


class Simulation:
    """The stages and what each has seen. check: called with the name of a stage after everything that it sees."""

    def __init__(
        self, llm: Call, tts: Call, egress: Call, random: Random, check: Callable[[str, "Simulation"], None]
    ) -> None:
        self.llm, self.tts, self.egress, self.stt = llm, tts, egress, Stt()
        self._real = {"llm": llm, "tts": tts, "egress": egress}
        self.seen = {stage: SessionState() for stage in STAGES}
        self._check = check
        self._random = random
        self._seq: dict[tuple[str, bool], int] = {}
        self._lines: dict[str, dict[str, deque[Event]]] = {stage: {} for stage in STAGES}
        self._collected = dict.fromkeys(self._real, 0)
        self._spoken = 0  # frames of tts that egress has
        self._texts = 0
        self._beat_ms = 0.0

    # --- the caller and ingress ---------------------------------------------------------------------------------------

    @property
    def at(self) -> int:
        """The caller's newest sample."""
        return self.llm.session.now_ms() * CALLER_HZ // 1000

    def open(self) -> None:
        owners = self.llm.session.owners
        self.publish(
            SessionOpened(owners=owners, coordinator="c", transport="null", started_us=1, config={"greeting": "Hello."})
        )

    def caller_types(self) -> None:
        self._texts += 1
        self.publish(TextReceived(text=f"typed {self._texts}", number=self._texts))

    # --- the network --------------------------------------------------------------------------------------------------

    def publish(self, *published: Event) -> None:
        """Stamp events of a simulated stage and send them."""
        for event in published:
            stage, ephemeral = events.stage(event), isinstance(event, events.EPHEMERAL)
            seq = self._seq.get((stage, ephemeral), 0)
            self._seq[stage, ephemeral] = seq + 1
            envelope = {"session": "s1", "agent": "agent1", "epoch": EPOCH, "seq": seq, "time": 1 + self.at}
            self._send(msgspec.structs.replace(event, **envelope))

    def _send(self, event: Event) -> None:
        stage = events.stage(event)
        self._see(stage, event)
        for receiver in STAGES:
            if receiver != stage:
                self._lines[receiver].setdefault(stage, deque()).append(event)

    def _see(self, stage: str, event: Event) -> None:
        self.seen[stage] = fold(self.seen[stage], event)

    async def flush(self, lagging: frozenset[str] = frozenset()) -> None:
        """Deliver all events to all receivers that do not lag, and all that follows from them."""
        busy = True
        while busy:
            busy = False
            for receiver in STAGES:
                while receiver not in lagging and (event := self._next(receiver)):
                    busy = True
                    await self._deliver(receiver, event)

    def _next(self, receiver: str) -> Event | None:
        lines = [line for line in self._lines[receiver].values() if line]
        return self._random.choice(lines).popleft() if lines else None

    async def _deliver(self, receiver: str, event: Event) -> None:
        self._see(receiver, event)
        if call := self._real.get(receiver):
            call.hear(event)
            await call.settle()
            self._collect()
        self._check(receiver, self)

    def _collect(self) -> None:
        """Send the audio and the events that the real stages have published."""
        for _, _, frame in self.tts.sent[self._spoken :]:
            self.egress.hear_audio(frame.pcm, turn=frame.turn, segment=frame.segment, flags=frame.flags)
        self._spoken = len(self.tts.sent)
        for stage, call in self._real.items():
            published = call.events[self._collected[stage] :]
            self._collected[stage] += len(published)
            for event in published:
                self._send(event)

    # --- time ---------------------------------------------------------------------------------------------------------

    async def wait(self, ms: int) -> None:
        """Let time pass, with a heartbeat of egress every 100 ms."""
        until = self.egress.session.now_ms() + ms
        while (now := self.egress.session.now_ms()) < until:
            await self.egress.wait_ms(min(until, self._beat_ms + HEARTBEAT_MS) - now)
            self._collect()
            if self.egress.session.now_ms() >= self._beat_ms + HEARTBEAT_MS:
                self._beat_ms = self.egress.session.now_ms()
                self.seen["egress"] = locate(self.seen["egress"], self.egress.stage.playhead)
            for stage in self._real:
                self._check(stage, self)
