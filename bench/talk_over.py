"""Measure barge-in: how soon the agent falls silent, the cost of a cough, and the text that the history keeps.

A real reader's phrases are played into long answers, each at another moment. The time is taken at the caller, with both
lines on one clock: from the first sample of speech to the last sample of the answer. Then coughs of 200 ms are played
into one answer: how long is it silent, and does it say every word once? Every stage is a process; VAD and recognizer
are the real ones, and with `--voice local` the voice, too.
"""

import argparse
import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from antiphon_testing.agents import listening_agent
from antiphon_testing.simulated_caller import (
    HZ,
    SILENT,
    ProcessPlatform,
    Samples,
    SimulatedCaller,
    open_process_platform,
)
from antiphon_testing.speech import onset, phrases
from bench.pipeline import percentiles
from cli import processes
from schemas.agent import AgentDocument
from schemas.audio import CALLER_HZ
from schemas.events import Paused, Resumed, SentenceReady, TranscriptFinal
from stages.tts import token_codec

TRIES = 20
INTO_ANSWER_S = (0.4, 0.73, 1.21, 0.55, 1.6, 0.89, 2.04)  # how long the caller listens to an answer before the barge-in
LONG = (  # without commas, so that each is one segment and its tones one text
    "There are many things that could be said about this and all of them take a while to say because none is short.",
    "Nobody who calls at this hour has ever been patient enough to hear the whole of what I am telling you right now.",
    "Every answer of mine is longer than it needs to be so that there is always something left to be talked over.",
)
COUGHED_INTO = (
    "The first thing to know is that the road along the river is closed until the end of the month. Whoever comes by "
    "car should take the bridge and turn left behind the old mill. The bus stops at the market as it always has and "
    "runs every ten minutes until late in the evening. A ticket for the day costs less than two single ones."
)
FIRST_COUGH_S, COUGH_EVERY_S = 1.0, 2.37  # no multiple of a frame or a VAD window: each cough begins elsewhere in them
COUGH_S = 0.2
BREATHS = (
    (110.0, 0.3),
    (220.0, 0.3),
    (110.0, 0.1),
    (220.0, 0.1),
    (110.0, 0.6),
    (0.0, 1.0),
)  # pitch in Hz, share of noise
FORMANTS = ((750.0, 90.0, 1.0), (1200.0, 110.0, 0.6), (2600.0, 160.0, 0.3))  # of an open mouth: Hz, width, strength
HOLE_S = 0.03  # silence of the answer; half a period of its lowest tone is 1 ms


class Interruption(NamedTuple):
    """One try.

    silent_ms: from the onset to the last of the answer that was heard; None if it happened to be silent. cancelled: it
    was given up. reply: all of it. audible: what the tones that were heard say. kept: what the history says was heard.
    """

    silent_ms: float | None
    cancelled: bool
    reply: str
    audible: str
    kept: str


class Coughed(NamedTuple):
    """One answer that was coughed into, and its holes.

    noticed: coughs that it fell silent for. words: what the recogniser made of each of them.
    """

    holes_ms: list[float]
    noticed: int
    words: list[str]
    resumed: list[str]
    reply: str
    audible: str
    kept: str


# --- words ------------------------------------------------------------------------------------------------------------


def talkers(voice: str = "scripted") -> list[AgentDocument]:
    """Return the agent for barge-ins and the agent for coughs."""
    hasty = (
        {"every_ms": 5} if voice == "scripted" else {}
    )  # the length of a sentence is known as soon as with a real voice
    tts = {"provider": voice, "options": hasty}
    return [listening_agent("long", *LONG, tts=tts), listening_agent("patient", COUGHED_INTO, tts=tts)]


async def talk_over(platform: ProcessPlatform, tries: int, at_once: int = 1) -> list[Interruption]:
    """Play each phrase of the reader, but the first of a call, into the answer to the phrase before.

    at_once: calls that the tries are shared out to.
    """
    reader = phrases("two_cities")
    per_call = -(-tries // at_once)
    calls = [
        [reader[(first + number) % len(reader)] for number in range(min(per_call, tries - first) + 1)]
        for first in range(0, tries, per_call)
    ]
    found = await asyncio.gather(*(_call(platform, pieces) for pieces in calls))
    return [one for call in found for one in call]


async def _call(platform: ProcessPlatform, pieces: list[bytes]) -> list[Interruption]:
    async with platform.call("long") as phone:
        for number, piece in enumerate(pieces):
            last = max(phone.state.turns, default=0)
            phone.say(piece)
            await phone.until(lambda last=last: phone.state.speaking > last)  # type: ignore[misc]
            await asyncio.sleep(INTO_ANSWER_S[number % len(INTO_ANSWER_S)])
    spans = stretches(phone.said, 0, 0.3)
    assert len(spans) == len(pieces), f"{len(pieces)} phrases were said, {len(spans)} are on the line"
    return [
        _interruption(phone, start + onset(piece) * HZ // CALLER_HZ, end)
        for (start, end), piece in zip(spans[1:], pieces[1:], strict=True)
    ]


def _interruption(phone: SimulatedCaller, began: int, end: int) -> Interruption:
    """Return what the speech from sample `began` to `end` did to the answer at that time."""
    begins = {number: _sample(phone, turn.playing) for number, turn in phone.state.turns.items() if turn.playing}
    number = max(turn for turn, sample in begins.items() if sample < began)
    turn = phone.state.turns[number]
    sounding = np.flatnonzero(np.abs(phone.heard[began:end].astype(int)) > SILENT)
    silent_ms = float(sounding[-1] + 1) / HZ * 1000 if sounding.size else None
    audible = token_codec.decode(phone.heard[max(0, begins[number] - HZ // 10) : end].tobytes())
    return Interruption(silent_ms, turn.cancelled is not None, _reply(phone, number), audible, turn.heard or "")


def _sample(phone: SimulatedCaller, time: int) -> int:
    """Return a time of an event, UTC microseconds, as a sample of the lines."""
    return (time - phone.state.started) * HZ // 1_000_000


def _reply(phone: SimulatedCaller, turn: int) -> str:
    return " ".join(said.text for said in phone.events(SentenceReady) if said.turn == turn and said.text)


# --- coughs -----------------------------------------------------------------------------------------------------------


async def cough_at(platform: ProcessPlatform, coughs: Sequence[bytes]) -> Coughed:
    """Ask one question, and cough into its answer."""
    loop = asyncio.get_running_loop()
    async with platform.call("patient") as phone:
        phone.say(phrases("two_cities")[1])
        await phone.until(lambda: phone.state.speaking > 0)
        began = loop.time() + FIRST_COUGH_S
        for number, cough in enumerate(coughs):
            await asyncio.sleep(began + number * COUGH_EVERY_S - loop.time())
            phone.say(cough)
        await phone.heard_out()
    sounds = stretches(phone.heard, SILENT, HOLE_S)
    holes_ms = [(after - end) / HZ * 1000 for (_, end), (after, _) in pairwise(sounds)]
    turns = phone.state.turns
    return Coughed(
        holes_ms,
        sum(1 for paused in phone.events(Paused) if paused.turn),
        [final.text for final in phone.events(TranscriptFinal)[1:]],
        [resumed.reason for resumed in phone.events(Resumed)],
        " ".join(_reply(phone, turn) for turn in turns),
        token_codec.decode(phone.heard.tobytes()),
        " ".join(turn.heard or "" for turn in turns.values()),
    )


def cough(pitch: float, noise: float, seed: int = 1) -> bytes:
    """Return a cough: 200 ms of PCM16 at 16 kHz, a burst of breath and voice through an open mouth."""
    time = np.arange(int(COUGH_S * CALLER_HZ)) / CALLER_HZ
    phase = np.cumsum(pitch * (1 - 0.3 * time / COUGH_S)) / CALLER_HZ
    source = noise * np.random.default_rng(seed).standard_normal(time.size)
    if pitch:
        source += (1 - noise) * 3.0 * (phase % 1 < 0.1)
    heard = sum(strength * _resonance(source, hz, width) for hz, width, strength in FORMANTS)
    heard = heard / np.abs(heard).max() * np.minimum(1, time / 0.01) * np.exp(-time / 0.09)
    return bytes((0.4 * 32_767 * heard / np.abs(heard).max()).astype("<i2"))


def _resonance(source: NDArray[np.float64], hz: float, width: float) -> NDArray[np.float64]:
    """Return `source` through a resonator at `hz`, at unit loudness."""
    radius = np.exp(-np.pi * width / CALLER_HZ)
    turn = 2 * radius * np.cos(2 * np.pi * hz / CALLER_HZ)
    one = two = 0.0
    out = np.empty_like(source)
    for index, sample in enumerate(source - source.mean()):
        out[index] = sample + turn * one - radius**2 * two
        one, two = out[index], one
    loud: NDArray[np.float64] = out / out.std()
    return loud


def stretches(line: Samples, silent: int, pause_s: float) -> list[tuple[int, int]]:
    """Return begin and end of the parts of a line louder than `silent`, between pauses longer than `pause_s`."""
    loud = np.flatnonzero(np.abs(line.astype(int)) > silent)
    if not loud.size:
        return []
    parted = np.flatnonzero(np.diff(loud) > pause_s * HZ)
    starts, ends = loud[[0, *(parted + 1)]], loud[[*parted, -1]] + 1
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


# --- the report -------------------------------------------------------------------------------------------------------


async def report(tries: int, voice: str) -> None:
    async with open_process_platform(*talkers(voice)) as platform:
        found = await talk_over(platform, tries)
        coughed = await cough_at(platform, [cough(*breath) for breath in BREATHS])
    measured = [one.silent_ms for one in found if one.silent_ms is not None]
    print(
        f"talked over {len(found)} times ({len(found) - len(measured)} in a pause of the agent): from the onset to the"
    )
    print("last that is heard, ms: ", "  ".join(f"{name} {ms:.0f}" for name, ms in percentiles(measured).items()))
    print(f"given up: {sum(one.cancelled for one in found)} of {len(found)}")
    if voice == "scripted":
        print("characters that the history keeps less (more: below 0) than was heard, at worst:", end=" ")
        print(*(pick(len(one.audible) - len(one.kept) for one in found) for pick in (min, max)))
    pauses = "" if voice == "scripted" else " (and the voice's own pauses)"
    print(f"{len(BREATHS)} coughs, {coughed.noticed} noticed: holes{pauses} of", end=" ")
    print(*(f"{ms:.0f}" for ms in coughed.holes_ms), f"ms; went on as {', '.join(coughed.resumed)}")
    print("what the recogniser made of them:", coughed.words)
    print("every word once:", coughed.audible == coughed.reply if voice == "scripted" else "cannot be told of a voice")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.talk_over", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--voice", choices=["scripted", "local"], default="scripted")
    asked = parser.parse_args()
    processes.run(report(asked.tries, asked.voice))


if __name__ == "__main__":
    main()
