"""Measure false cut-offs: how often the agent is heard in a caller's pause within a sentence, and its price.

A voice reads each sentence in two parts, the first with the intonation of a sentence that goes on, and pauses between
them. The agent falls for it if the caller hears it before the sentence is over. Then it reads the sentences whole: the
time from the last sound to the first of the answer is what the judgement costs. Recognizer and VAD are the real ones.
"""

import argparse
import asyncio
import json
from typing import NamedTuple

import numpy as np

from antiphon_testing.agents import listening_agent
from antiphon_testing.simulated_caller import HZ, SILENT, ProcessPlatform, Samples, open_process_platform
from antiphon_testing.speech import silence
from bench.pipeline import percentiles
from cli import processes
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.discovery import weights_folder

AGENT = listening_agent("patient", *["Thank you, I see."] * 20)
PAUSES_S = (0.5, 0.7, 0.9)
AT_ONCE = 2  # calls: two recognizers keep up on two cores
QUIET = 200  # of 32,768: the caller's voice is louder, the silence at the edges of its parts is not
SENTENCES = (
    ("I would like to book a table", "for two people on Friday."),
    ("Can you tell me", "what time the last train leaves?"),
    ("My name is", "Peter Miller."),
    ("I am calling because", "my tooth hurts when I drink something cold."),
    ("Do you have any appointments", "on Tuesday in the morning?"),
    ("I need to change", "the address on my account."),
    ("We are looking for a hotel", "that is close to the station."),
    ("How much is it", "if I come with three children?"),
    ("I was wondering if", "you could send me the bill again."),
    ("Is there a bus", "that goes to the airport?"),
    ("I paid with my card", "but the money has not arrived."),
    ("The last time I was there", "nobody answered the phone."),
)


class Step(NamedTuple):
    """One sentence. pause_s: 0 for a whole one. cut_off: the agent was heard before its end. answer_ms: after it."""

    text: str
    pause_s: float
    cut_off: bool
    answer_ms: float | None


async def measure(platform: ProcessPlatform) -> list[Step]:
    """Read all sentences, whole and with each pause."""
    parts = [text for first, second in SENTENCES for text in (f"{first},", second, f"{first} {second}")]
    voiced = [_trimmed(read_pcm(path)) for path in await speak(parts, weights_folder() / "caller")]
    steps = []
    for number, (first, second) in enumerate(SENTENCES):
        begin, end, whole = voiced[3 * number : 3 * number + 3]
        steps += [(f"{first} ... {second}", pause, begin + silence(pause) + end) for pause in PAUSES_S]
        steps.append((f"{first} {second}", 0.0, whole))
    places = asyncio.Semaphore(AT_ONCE)

    async def one(text: str, pause_s: float, pcm: bytes) -> Step:
        async with places, platform.call(AGENT.id) as caller:
            caller.say(silence(0.5) + pcm)
            await caller.until(lambda: bool(caller.state.turns))
            await caller.heard_out()
        return _judged(text, pause_s, caller.said, caller.heard)

    return list(await asyncio.gather(*(one(*step) for step in steps)))


def _judged(text: str, pause_s: float, said: Samples, heard: Samples) -> Step:
    over = int(np.flatnonzero(np.abs(said.astype(np.int32)) >= QUIET)[-1])
    sounds = np.flatnonzero(np.abs(heard.astype(np.int32)) >= SILENT)
    after = sounds[sounds > over]
    return Step(
        text,
        pause_s,
        bool(len(sounds) and sounds[0] < over),
        float(after[0] - over) / HZ * 1000 if len(after) else None,
    )


def _trimmed(pcm: bytes) -> bytes:
    """Return a part without the silence at its edges."""
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, np.int16).astype(np.int32)) >= QUIET)
    return pcm[2 * int(loud[0]) : 2 * int(loud[-1] + 1)]


def told(steps: list[Step]) -> dict[str, object]:
    """Return the figures: false cut-offs by pause, and the time to the answer after a whole sentence."""
    whole = [step.answer_ms for step in steps if not step.pause_s]
    return {
        "cut_off": {
            f"{pause:g} s": f"{sum(s.cut_off for s in steps if s.pause_s == pause)} of {len(SENTENCES)}"
            for pause in PAUSES_S
        },
        "answered": f"{sum(answer is not None for answer in whole)} of {len(whole)}",
        "answer_ms": percentiles([answer for answer in whole if answer is not None]),
    }


async def report() -> None:
    async with open_process_platform(AGENT) as platform:
        steps = await measure(platform)
    for text, pause_s, cut_off, answer_ms in steps:
        print(f"{pause_s:.1f} s  {'cut off' if cut_off else '':7}  {answer_ms or 0:5.0f} ms  {text}")
    print(json.dumps(told(steps), indent=1))


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m bench.false_cutoffs", description=(__doc__ or "").split("\n\n")[0]
    ).parse_args()
    processes.run(report())


if __name__ == "__main__":
    main()
