"""Calls whose every word is known: the caller says numbers, the agent answers each, and nothing may be lost or doubled.

The loudness of an utterance is its number, so a recognizer that hears audio again finds the same text. The agent speaks
in tones that are read back from what the caller heard.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from antiphon_testing.agents import scripted_agent
from antiphon_testing.event_recorder import SessionEvents
from antiphon_testing.recording import Recording
from antiphon_testing.websocket_caller import Caller, dial
from bus.connect import Bus
from bus.session_client import SessionClient
from schemas.audio import AGENT_HZ, CALLER_HZ
from session.state import SessionState, fold
from stages.stt.providers.scripted import LOUDNESS_STEP
from stages.tts import token_codec

TEXTS = [f"number {number}" for number in range(1, 31)]
ANSWER = ("You said {text}.", "Is that right, or not?")
AGENT = scripted_agent(
    "numbers",
    stt={"texts": TEXTS, "by_loudness": True, "final_ms": 80},
    llm={"replies": [" ".join(ANSWER)], "first_ms": 60, "token_ms": 15},
    tts={"first_ms": 40, "every_ms": 40},
)
UTTERANCE_MS = (250, 900)  # from, to
PAUSE_S = (0.1, 0.6)  # between the end of an answer and the next utterance
ANSWERED_WITHIN_S = 45.0
LOOK_EVERY_S = 0.02


class NumberedCall:
    """One call in progress. said: how many numbers the caller has said. state: the fold of the session's events."""

    def __init__(self, caller: Caller, events: SessionEvents, recording: Recording, seed: int) -> None:
        self.caller = caller
        self.session = caller.session
        self.said = 0
        self._events = events
        self._folded = 0
        self._state = SessionState()
        self._recording = recording
        self._random = random.Random(seed)

    @property
    def state(self) -> SessionState:
        """The fold of the events: those that old owners publish after their end do not count."""
        for event in self._events.events[self._folded :]:
            self._state = fold(self._state, event)
        self._folded = len(self._events.events)
        return self._state

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.caller.over.is_set()

    async def converse(self, numbers: int) -> None:
        """Say numbers and hear each answer to its end. Raises TimeoutError if one is not answered."""
        await self._until(lambda: bool(self.state.transport))
        for _ in range(numbers):
            await self.ask()

    async def ask(self) -> None:
        """Say the next number, hear its answer, and be silent for a moment."""
        self.said += 1
        self.caller.say(utterance((self.said - 1) % len(TEXTS) + 1, self._random.randint(*UTTERANCE_MS)))
        turns = self.said
        await self._until(lambda: sum(turn.heard is not None for turn in self.state.turns.values()) >= turns)
        await self._until(lambda: not self.caller.hearing)
        await asyncio.sleep(self._random.uniform(*PAUSE_S))

    def problems(self) -> list[str]:
        """Return everything that was lost or doubled so far; a sentence that tts began again may be heard in part."""
        found = []
        if self.over:
            found.append(f"the call ended: {self.caller.problem or self.state.closed}")
        texts = [TEXTS[number % len(TEXTS)] for number in range(self.said)]
        answers = [answer.format(text=text) for text in texts for answer in ANSWER]
        transcripts = [one.text for one in self.state.utterances.values() if one.text]
        if transcripts != texts:
            found.append(f"transcripts: {transcripts}")
        heard = [turn.heard for turn in self.state.turns.values()]
        if heard != [" ".join(answer.format(text=text) for answer in ANSWER) for text in texts]:
            found.append(f"history: {heard}")
        spoken = token_codec.texts(self.agent_audio.tobytes())
        whole = [
            text
            for text, following in zip(spoken, [*spoken[1:], ""], strict=True)
            if text == following or not following.startswith(text.rstrip("\ufffd"))
        ]
        if " ".join(filter(None, whole)) != " ".join(answers):  # a new owner of llm may divide a reply differently
            found.append(f"heard by the caller: {spoken}")
        return found

    @property
    def agent_audio(self) -> npt.NDArray[np.int16]:
        """The agent's audio that the caller has heard so far, PCM16 at 24 kHz."""
        return self._recording.lines(AGENT_HZ)[1]

    @property
    def repeated(self) -> int:
        """How many sentences were begun, cut and spoken again."""
        spoken = token_codec.texts(self.agent_audio.tobytes())
        return sum(following.startswith(text) and text != following for text, following in pairwise(spoken))

    async def _until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while not met() and not self.over:
                await asyncio.sleep(LOOK_EVERY_S)


def utterance(number: int, ms: int) -> bytes:
    """Return a square wave, PCM16 mono at 16 kHz, whose loudness is `number`, counted from 1."""
    high = (number * LOUDNESS_STEP + LOUDNESS_STEP // 2).to_bytes(2, "little", signed=True)
    low = (-number * LOUDNESS_STEP - LOUDNESS_STEP // 2).to_bytes(2, "little", signed=True)
    return (high * 2 + low * 2) * (CALLER_HZ * ms // 1000 // 4)


@asynccontextmanager
async def numbered_call(bus: Bus, url: str, seed: int) -> AsyncIterator[NumberedCall]:
    """Call AGENT on the websocket at `url`; hang up at the end."""
    recorded = SessionEvents()
    with Recording() as recording:
        async with (
            SessionClient(bus).subscribed(recorded.receive, agent=AGENT.id),
            dial(url, AGENT.id, recording=recording) as caller,
        ):
            recorded.only(caller.session)
            yield NumberedCall(caller, recorded, recording, seed)
