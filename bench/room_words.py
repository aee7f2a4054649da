"""Measure words through real rooms: the transcripts of callers, and the agent as callers hear it.

The caller uses LiveKit's SDK alone: it plays a recording of human speech, reads the transcripts that the room shows,
and records the agent, whose words the same recognizer reads from the recording.
Then many callers speak at once (`first_words.py`).
"""

import argparse
import asyncio
from typing import NamedTuple

import soxr

from antiphon_testing.agents import listening_agent
from antiphon_testing.speech import recording, silence
from antiphon_testing.wer import words
from bench.first_words import BRIEF, first_words
from bench.room_harness import RoomHarness, open_room_harness
from cli import processes
from schemas.audio import AGENT_HZ, CALLER_HZ

TRIES = 20
SPOKEN_WITHIN_S = 60.0
PAUSE_S = 1.0
SPOKEN_BEFORE_S = PAUSE_S + 1.2  # the recording ends with 1.2 s of silence, and the agent may answer within it
REPLY = "Thank you, that was well read. Please come again tomorrow at nine."
READER = listening_agent("reader", REPLY, tts={"provider": "local"})


class Visit(NamedTuple):
    """One call. shown: transcripts of the caller in the room. told: of the agent. heard: recognized from its audio."""

    shown: str
    told: str
    heard: str


async def visited(rooms: RoomHarness, voice: str) -> Visit:
    """Play a recording to the agent and record the answer."""
    from stages.stt.providers.local import Moonshine

    async with rooms.attending(READER, recording(voice) + silence(PAUSE_S)) as (caller, _):
        await caller.until(lambda: not caller.saying, SPOKEN_WITHIN_S)
        # From the recording's end: under load the room shows the agent's state seconds after its audio.
        begin = len(caller.samples) - int(SPOKEN_BEFORE_S * AGENT_HZ)
        await caller.until(lambda: REPLY in caller.final("agent") and caller.silent_for(1.0), SPOKEN_WITHIN_S)
        shown, told = " ".join(caller.final("caller")), caller.final("agent")[-1]
        sound = caller.samples[max(begin, 0) :]
    recogniser = Moonshine()
    pcm = bytes(soxr.resample(sound, AGENT_HZ, CALLER_HZ))
    heard = await asyncio.to_thread(recogniser.transcribe, pcm)
    recogniser.close()
    return Visit(shown, told, heard)


async def report(tries: int) -> None:
    async with open_room_harness(BRIEF, READER) as rooms:
        visit_ = await visited(rooms, "beckett")
        print(f"shown of the caller: {visit_.shown}\nshown of the agent: {visit_.told}\nheard of it: {visit_.heard}")
        found = await first_words(rooms, tries)
    for way, firsts in found.items():
        ours = sum(first.lost_by in ("stt", "ingress") for first in firsts)
        print(f"\n{way}: {sum(first.whole for first in firsts)} of {len(firsts)} whole, {ours} not whole because of us")
        unaided = sum(not first.heard_by_witness for first in firsts)
        print(f"LiveKit's SDK alone lost words of {unaided} in the same rooms")
        print(
            "said | recording | LiveKit's SDK | our line | shown | if not whole: ms of its beginning missing, lost by"
        )
        for first in firsts:
            texts = (" ".join(words(text)) for text in first[:5])
            print(" ", " | ".join(texts), "|", "" if first.whole else f"{first.missing_ms} ms, {first.lost_by}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.room_words", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tries", type=int, default=TRIES, help="of each kind")
    processes.run(report(parser.parse_args().tries))


if __name__ == "__main__":
    main()
