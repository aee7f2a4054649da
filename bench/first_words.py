"""Measure first words in rooms: whether callers who speak at once are heard whole, and if not, where words are lost.

They are said by callers to whom an agent comes, in the moment in which its state says that it listens, and by callers
who come to an agent that was sent ahead, in the first packet of their microphone. The same recogniser reads each of
them four times: in the recording; in what somebody hears who listens in the same room with LiveKit's SDK and nothing
else; in what came to our recogniser; and as the room shows it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import soxr

from antiphon_testing.agents import listening_agent
from antiphon_testing.speech import missing_ms, onset, phrases, recording, silence
from antiphon_testing.wer import words
from bench.room_harness import Participants, RoomHarness
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.discovery import weights_folder
from schemas.audio import AGENT_HZ, CALLER_HZ

AT_ONCE = 2
HEARD_WITHIN_S = 30.0
BRIEF = listening_agent("brief", "Yes.")
READ_S = 6  # of audio: longer than any opening
BEFORE_S = 0.3  # of silence before a first sound, as the recognizer of a call receives it

# Human: the beginning of a recording or a phrase of it. The demo's caller: a question.
HUMAN = (
    ("two_cities", None, "It was the best of times"),
    ("two_cities", 1, "It was the age of wisdom"),
    ("two_cities", 3, "It was the epoch of belief"),
    ("two_cities", 8, "It was the winter of despair"),
    ("two_cities", 9, "We had everything before us"),
    ("two_cities", 13, "The period was so far"),
    ("beckett", None, "Ever tried"),  # last: alone, these two words are read as "ever cried" now and then
)
MADE = ("Hi, are you taking new patients?", "Do you also treat cats?", "Is there somewhere I can park?")
SOUNDS_LIKE = {"high": "hi"}  # spellings of one sound
OPENING_S = 4  # of a recording without phrases


class Opening(NamedTuple):
    """An opening: PCM16 at 16 kHz whose first sample belongs to the first word."""

    said: str
    pcm: bytes


class First(NamedTuple):
    """The transcripts of one opening. missing_ms: of its beginning, in the audio that stt received."""

    said: str
    recording: str
    witness: str
    line: str
    shown: str
    missing_ms: int | None

    @property
    def whole(self) -> bool:
        return self._has(self.shown)

    @property
    def heard_by_witness(self) -> bool:
        return self._has(self.witness)

    @property
    def lost_by(self) -> str:
        """Return the first place that lacks the words, "" if none does."""
        if self.whole:
            return ""
        if not self._has(self.recording):
            return "recogniser"
        if not self.heard_by_witness:
            return "LiveKit"
        return "stt" if self._has(self.line) else "ingress"

    def _has(self, text: str) -> bool:
        return _letters(text).startswith(_letters(self.said))


def _letters(text: str) -> str:
    """Return words in one spelling: `somewhere` is `some where`."""
    return "".join(SOUNDS_LIKE.get(word, word) for word in words(text))


async def openings() -> list[Opening]:
    """Return ten openings."""
    pieces = [
        (said, recording(voice)[: OPENING_S * 2 * CALLER_HZ] if phrase is None else phrases(voice)[phrase])
        for voice, phrase, said in HUMAN
    ]
    pieces += [
        (said, read_pcm(path)) for said, path in zip(MADE, await speak(MADE, weights_folder() / "caller"), strict=True)
    ]
    return [Opening(said, pcm[2 * onset(pcm) :]) for said, pcm in pieces]


@asynccontextmanager
async def attended(rooms: RoomHarness, saying: bytes) -> AsyncIterator[Participants]:
    """Speak at the moment at which the agent listens."""
    async with rooms.attended() as participants:
        participants.caller.say(saying)
        yield participants


@asynccontextmanager
async def attending(rooms: RoomHarness, saying: bytes) -> AsyncIterator[Participants]:
    """Speak in the first packet to an agent that entered before."""
    async with rooms.attending(BRIEF, saying) as participants:
        yield participants


WAYS = {"the agent comes to the caller": attended, "the caller comes to the agent": attending}


async def first_words(rooms: RoomHarness, tries: int) -> dict[str, list[First]]:
    """Make calls of both kinds, some at once."""
    from stages.stt.providers.local import Moonshine

    sounds = await openings()
    places = asyncio.Semaphore(AT_ONCE)
    recogniser = Moonshine()
    reading = asyncio.Lock()

    async def read(pcm: bytes) -> str:
        async with reading:  # the recognizer reads one recording at a time
            return await asyncio.to_thread(recogniser.transcribe, pcm)

    async def one(way: str, number: int) -> First:
        opening = sounds[number % len(sounds)]
        async with places, WAYS[way](rooms, opening.pcm + silence(1)) as (caller, witness):
            with suppress(TimeoutError):  # then the result shows what arrived
                await caller.until(lambda: not caller.saying and bool(caller.final("agent")), HEARD_WITHIN_S)
            line, shown = rooms.tap.line(caller), " ".join(caller.final("caller"))
            heard = bytes(soxr.resample(witness.samples, AGENT_HZ, CALLER_HZ))
        return First(
            opening.said,
            await read(silence(BEFORE_S) + opening.pcm),
            await read(_sounding(heard)),
            await read(_sounding(line)),
            shown,
            missing_ms(opening.pcm, line),
        )

    tried = await asyncio.gather(*(one(way, number) for way in WAYS for number in range(tries)))
    recogniser.close()
    return {way: tried[place * tries : (place + 1) * tries] for place, way in enumerate(WAYS)}


def _sounding(line: bytes) -> bytes:
    """Return audio from shortly before its first sound."""
    start = 2 * max(0, onset(line) - int(BEFORE_S * CALLER_HZ))
    return line[start : start + READ_S * 2 * CALLER_HZ]
