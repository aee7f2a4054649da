"""The calls of a run: callers who speak by a pattern, an agent that answers by script, and all their events.

Latency load: half a second of speech and a turn each 1.1 s, so that turns come fast. Capacity load: 1.5 s of speech, an
answer of 2 s, a turn each 4 s, as people talk. 20 ms frames come in at real-time pace all the time. Calls begin evenly
spread, and all of them end at about the same time, so that there is a stretch in which every one of them talks.
"""

import asyncio
from dataclasses import dataclass, field

import msgspec

from antiphon_testing.caller_pattern import CallerPattern
from bench.simulated_callers import Callers
from bus.connect import Bus
from bus.message import Message
from schemas import control, events, subjects
from schemas.agent import AgentDocument, ProviderChoice

AGENT = "bench"
FINAL_MS, FIRST_TOKEN_MS, TOKEN_MS, FIRST_AUDIO_MS = 100, 50, 5, 50  # delays of the providers
CHUNK_MS, CHUNK_EVERY_MS = 100, 50
REPLY = (
    "Right. " + " ".join(f"word{number}" for number in range(17)) + "."
)  # 18 tokens, two sentences: the first is one
SENTENCES = 2
STARTS_A_SECOND = 20  # opening a call costs processor time that is not measured
CLAIM_WITHIN_S = 5.0
CLOSED_WITHIN_S = 30.0


@dataclass(frozen=True)
class Load:
    """The rhythm of the callers, and the length of the answers, in ms."""

    name: str
    speech_ms: int
    answer_ms: int
    every_ms: int


SENTENCES_IN_ROOMS = Load("sentences", 1_500, 2_000, 5_500)
LATENCY = Load("latency", 500, 300, 1_100)
CAPACITY = Load("capacity", 1_500, 2_000, 4_000)
LOADS = {load.name: load for load in (LATENCY, CAPACITY)}


def agent(load: Load, *, turn_taking: bool = False) -> AgentDocument:
    """Return the agent that answers.

    turn_taking: the pause after a final transcript ends the turn; else each final is a turn.
    """
    ends_turn = None if turn_taking else True
    stt = {"texts": ["a question"], "final_ms": FINAL_MS, "ends_turn": ends_turn}
    llm = {"replies": [REPLY], "first_ms": FIRST_TOKEN_MS, "token_ms": TOKEN_MS}
    tts = {
        "first_ms": FIRST_AUDIO_MS,
        "chunk_ms": CHUNK_MS,
        "every_ms": CHUNK_EVERY_MS,
        "duration_ms": load.answer_ms // SENTENCES,
    }
    return AgentDocument(
        id=AGENT,
        stt=ProviderChoice(provider="scripted", options=stt),
        llm=ProviderChoice(provider="scripted", options=llm),
        tts=ProviderChoice(provider="scripted", options=tts),
    )


def starts(load: Load, sessions: int) -> list[float]:
    """Return when each call begins, in s: at most STARTS_A_SECOND, no two at the same moment of a turn."""
    turns = -(-sessions * 1000 // (STARTS_A_SECOND * load.every_ms))  # turns until the last call has begun
    spread_s = turns * load.every_ms / 1000
    apart_s = spread_s / sessions * (1 + 1 / (turns * sessions))
    return [number * apart_s for number in range(sessions)]


@dataclass
class Calls:
    """The running calls of one load. `said`: every event, undecoded, because decoding is no part of the load."""

    bus: Bus
    load: Load
    callers: Callers | None = None  # at websockets; None: ingress simulates the callers
    said: list[bytes] = field(default_factory=list)
    _running: int = 0
    _closed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def listen(self) -> None:
        await self.bus.subscribe(subjects.events(AGENT), self._hear)
        await self.bus.flush()

    async def begin(self, sessions: int, talk_s: float, silent_s: float = 0.5) -> None:
        """Begin `sessions` calls; returns when each is silent or talks, and none ends in the `talk_s` that follow.

        silent_s: before the first word.
        """
        offsets = starts(self.load, sessions)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for offset in offsets:
            await asyncio.sleep(began + offset - loop.time())
            left_s = talk_s + offsets[-1] - offset
            pattern = CallerPattern(
                speech_ms=self.load.speech_ms,
                every_ms=self.load.every_ms,
                turns=int(left_s * 1000 / self.load.every_ms) + 2,
                start_ms=int(silent_s * 1000),
            )
            self._running += 1
            self._closed.clear()
            self._tasks.append(asyncio.create_task(self._claim(pattern)))
        await asyncio.gather(*self._tasks)

    async def ended(self) -> None:
        """Return when every call is over. Raises TimeoutError."""
        async with asyncio.timeout(CLOSED_WITHIN_S):
            await self._closed.wait()

    async def _claim(self, pattern: CallerPattern) -> None:
        ask = control.encode(
            control.ClaimSession(AGENT, "websocket" if self.callers else "null", msgspec.structs.asdict(pattern))
        )
        answer = await self.bus.request(subjects.claim(subjects.INGRESS), ask, CLAIM_WITHIN_S)
        line = control.decode(answer, control.SessionOffer)
        if line.refused:
            raise SystemExit(f"cannot call: {line.refused} {line.detail}")
        if self.callers:
            self.callers.dial(line.url, pattern)

    def _hear(self, message: Message) -> None:
        self.said.append(message.data)
        if message.subject.endswith(events.tag(events.SessionClosed)):
            self._running -= 1
            if not self._running:
                self._closed.set()

    def events(self) -> list[events.Event]:
        """Return the events in order of arrival."""
        return [events.decode(data) for data in self.said]
