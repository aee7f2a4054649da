"""Words through real rooms: what is heard of people there, and what people hear of the agent.

The caller is LiveKit's own SDK, which knows nothing of Antiphon: it speaks a recording of a human, reads the
transcripts that the room shows, and records the agent, whose words are read from the recording by the same recogniser.
Callers who begin in the moment in which the agent's state says that it listens are heard from their first word.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import soxr

from bench.speech import OPENINGS, Opening
from cli import processes
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.platform import Options, platform
from cli.room_server import RoomServer
from cli.where import weights_folder
from schemas.agent import AgentDocument
from schemas.audio import AGENT_HZ, CALLER_HZ
from tests.kit.phone import listener
from tests.kit.speech import onset, recording, silence
from tests.kit.visitor import Visitor, close, token, visit
from tests.kit.wer import words

TRIES = 20
AT_ONCE = 4
SPOKEN_WITHIN_S = 60.0
BEFORE = AGENT_HZ // 5  # the state of an agent and its sound come by different ways
REPLY = "Thank you, that was well read. Please come again tomorrow at nine."


class Lobby:
    """A running product with rooms."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self._url = url
        self._keys = keys
        self._numbers = count()

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[Visitor]:
        """Somebody in a room of their own, with an agent that listens."""
        name = f"words-{next(self._numbers)}"
        async with visit(self._url, token(name, **self._keys)) as visitor:
            await visitor.until(lambda: visitor.state == "listening")
            yield visitor
            await close(self._url, name, **self._keys)  # the local engines have few seats: none waits out a grace


@asynccontextmanager
async def lobby(agent: AgentDocument) -> AsyncIterator[Lobby]:
    """NATS, livekit-server, the config service and five stages, each a process; `agent` answers every room."""
    from bus.connect import connect
    from config_service.client import ConfigClient
    from schemas.settings import BusSettings

    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        options = Options(Path(folder), warm="local", livekit=True, default_agent=agent.id)
        async with platform(options, asyncio.Event()) as running, connect(BusSettings(url=running.nats)) as bus:
            await ConfigClient(bus).set([agent])
            yield Lobby(running.livekit, RoomServer.keys(options.data))


def reader() -> AgentDocument:
    """Hears and speaks with the local engines, and answers by script, once the caller has finished."""
    return listener("reader", REPLY, tts={"provider": "local"})


class Visit(NamedTuple):
    """shown: the caller's words as the room showed them. told: the agent's, there. heard: of its sound."""

    shown: str
    told: str
    heard: str


async def visited(rooms: Lobby, voice: str) -> Visit:
    """A recording is read to the agent and answered."""
    from stages.stt.providers.local import Moonshine

    async with rooms.enter() as visitor:
        visitor.say(recording(voice) + silence(1))
        await visitor.until(lambda: not visitor.saying, SPOKEN_WITHIN_S)
        await visitor.until(lambda: REPLY in visitor.final("agent") and visitor.silent_for(1.0), SPOKEN_WITHIN_S)
        shown, told = " ".join(visitor.final("caller")), visitor.final("agent")[-1]
        sound = visitor.samples[max(visitor.spoken_from - BEFORE, 0) :]
    recogniser = Moonshine()
    pcm = bytes(soxr.resample(sound, AGENT_HZ, CALLER_HZ))
    heard = await asyncio.to_thread(recogniser.transcribe, pcm)
    recogniser.close()
    return Visit(shown, told, heard)


async def first_words(rooms: Lobby, tries: int) -> list[Opening]:
    """Callers whose first sound is a word, said in the first frame that anybody can hear."""
    sounds = []
    for voice, seconds, said in OPENINGS:
        if seconds:
            pcm = recording(voice)[: int(seconds * CALLER_HZ) * 2]
        else:
            pcm = read_pcm((await speak([voice], weights_folder() / "caller"))[0])
        sounds.append((said, pcm[2 * onset(pcm) :]))
    places = asyncio.Semaphore(AT_ONCE)

    async def blurt(said: str, pcm: bytes) -> Opening:
        async with places, rooms.enter() as visitor:
            visitor.say(pcm + silence(1))
            await visitor.until(lambda: not visitor.saying and bool(visitor.final("agent")), SPOKEN_WITHIN_S)
            return Opening(said, " ".join(visitor.final("caller")))

    return await asyncio.gather(*(blurt(*sounds[number % len(sounds)]) for number in range(tries)))


async def report(tries: int) -> None:
    async with lobby(reader()) as rooms:
        visit_ = await visited(rooms, "beckett")
        print(f"shown of the caller: {visit_.shown}\nshown of the agent: {visit_.told}\nheard of it: {visit_.heard}")
        openings = await first_words(rooms, tries)
    print(f"whole from the first frame: {sum(one.whole for one in openings)} of {len(openings)}")
    for opening in openings:
        if not opening.whole:
            print(f"  {opening.said} | {' '.join(words(opening.heard))}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.room_words", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tries", type=int, default=TRIES)
    processes.run(report(parser.parse_args().tries))


if __name__ == "__main__":
    main()
