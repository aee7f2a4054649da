"""Measure speech through all five stages: the transcripts of a human reader, and the words of the agent.

Two recordings of human speech are played to an agent that answers by script, and to the receptionist, who answers in
the reader's pauses. The same recognizer reads the receptionist's answers from the caller's recording. Further callers
speak before the call is answered: are they heard from their first word? Every stage is a process.
"""

import argparse
import asyncio
from typing import NamedTuple

import aiohttp
import soxr

from antiphon_testing.agents import listening_agent
from antiphon_testing.simulated_caller import HZ, WITHIN_S, ProcessPlatform, open_process_platform
from antiphon_testing.speech import BECKETT, TWO_CITIES, onset, recording, silence
from antiphon_testing.wer import spelled, word_error_rate, words
from bus.session_client import SessionClient
from cli import processes
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.discovery import EXAMPLES, weights_folder
from schemas.agent import AgentDocument
from schemas.audio import CALLER_FRAME_BYTES, CALLER_HZ, FRAME_MS
from schemas.events import SentenceReady, TranscriptFinal, TurnEnded

READINGS = {"two_cities": TWO_CITIES, "beckett": BECKETT}
SPOKEN_WITHIN_S = 60.0  # the longest recording and its answer
QUESTIONS = (
    "Hi, are you taking new patients?",
    "And how much is a check-up?",
    "I'd like to make an appointment.",
    "Is there somewhere I can park?",
    "When are you open?",
    "Do you also treat cats?",
)
OPENINGS = (  # a recording, or a text for the demo's voice; its seconds; its words
    ("two_cities", 3.0, "It was the best of times"),
    ("beckett", 4.0, "Ever tried"),
    ("Hi, are you taking new patients?", None, "Hi are you taking new patients"),
    ("Do you also treat cats?", None, "Do you also treat cats"),
    ("Is there somewhere I can park?", None, "Is there somewhere I can park"),
)


class Reading(NamedTuple):
    """The result of one recording. answers: turns of the agent. cut: how many of them the reader interrupted."""

    text: str
    wrong: float
    answers: int
    cut: int


class Answer(NamedTuple):
    """A turn of the agent: the model's reply, the text that the history kept, the transcript of the recording."""

    reply: str
    kept: str
    heard: str


class Opening(NamedTuple):
    """An opening, and its transcript."""

    said: str
    heard: str

    @property
    def whole(self) -> bool:
        """Return whether no word is missing."""
        return words(self.heard)[: len(words(self.said))] == words(self.said)


def receptionist() -> AgentDocument:
    """Return the agent of the demo: recognizer, model and voice are local."""
    return AgentDocument.model_validate_json((EXAMPLES / "agents" / "receptionist.json").read_text())


# --- a reader ---------------------------------------------------------------------------------------------------------


async def read_to(platform: ProcessPlatform, agent: str, name: str) -> Reading:
    """Make a call with a recording."""
    async with platform.call(agent) as phone:
        phone.say(recording(name))
        phone.say(silence(1))
        await phone.heard_out(SPOKEN_WITHIN_S)
    text = " ".join(final.text for final in phone.events(TranscriptFinal))
    ended = phone.events(TurnEnded)
    return Reading(text, word_error_rate(READINGS[name], text), len(ended), sum(turn.interrupted for turn in ended))


# --- the agent --------------------------------------------------------------------------------------------------------


async def round_trip(platform: ProcessPlatform, questions: tuple[str, ...] = QUESTIONS) -> list[Answer]:
    """Ask questions one after the other; return the greeting and the answers."""
    from stages.stt.providers.local import Moonshine

    sounds = await speak(questions, weights_folder() / "caller")
    async with platform.call("receptionist") as phone:
        await phone.heard_out()
        for sound in sounds:
            phone.say(read_pcm(sound))
            await phone.heard_out()
    recogniser = Moonshine()
    answers = []
    for number, turn in phone.state.turns.items():
        begin, end = ((time - phone.state.started) * HZ // 1_000_000 for time in (turn.playing, turn.stopped))
        pcm = bytes(soxr.resample(phone.heard[begin:end], HZ, CALLER_HZ))
        reply = " ".join(said.text for said in phone.events(SentenceReady) if said.turn == number and said.text)
        answers.append(Answer(reply, turn.heard or "", await asyncio.to_thread(recogniser.transcribe, pcm)))
    recogniser.close()
    return answers


def wrong_words(answers: list[Answer]) -> float:
    """Return the word error rate of the answers' transcripts."""
    said = " ".join(spelled(answer.reply) for answer in answers)
    return word_error_rate(said, " ".join(spelled(answer.heard) for answer in answers))


# --- first words ------------------------------------------------------------------------------------------------------


async def first_words(platform: ProcessPlatform, agent: str) -> list[Opening]:
    """Make calls whose first frame begins with a word, sent before any answer arrived."""
    openings = []
    for voice, seconds, said in OPENINGS:
        if seconds:
            pcm = recording(voice)[: int(seconds * CALLER_HZ) * 2]
        else:
            [path] = await speak([voice], weights_folder() / "caller")
            pcm = read_pcm(path)
        openings.append(Opening(said, await _blurt(platform, agent, pcm[2 * onset(pcm) :])))
    return openings


async def _blurt(platform: ProcessPlatform, agent: str, pcm: bytes) -> str:
    """Connect and speak at once; return the transcript of the first utterance."""
    client = SessionClient(platform.bus)
    offer = await client.claim(agent)
    pcm += silence(1)
    loop = asyncio.get_running_loop()
    async with (
        client.follow(offer.session) as followed,
        aiohttp.ClientSession() as http,
    ):
        async with http.ws_connect(offer.url, params={"agent": agent, "session": offer.session}) as socket:
            began = loop.time()
            for number, start in enumerate(range(0, len(pcm), CALLER_FRAME_BYTES)):
                await asyncio.sleep(began + number * FRAME_MS / 1000 - loop.time())
                await socket.send_bytes(pcm[start : start + CALLER_FRAME_BYTES])
            async with asyncio.timeout(WITHIN_S):
                while followed.state.busy:
                    await asyncio.sleep(FRAME_MS / 1000)
        await followed.until_closed()
    return " ".join(event.text for event in followed.events if isinstance(event, TranscriptFinal))


# --- the report -------------------------------------------------------------------------------------------------------


async def report() -> None:
    async with open_process_platform(listening_agent("brief", "Yes."), receptionist()) as platform:
        for agent in ("brief", "receptionist"):
            for name in READINGS:
                reading = await read_to(platform, agent, name)
                print(f"{name} to {agent}: {reading.wrong:.1%} of the words wrong;", end=" ")
                print(f"{reading.answers} answers, {reading.cut} of them cut\n  {reading.text}")
        answers = await round_trip(platform)
        print(f"what the receptionist said: {wrong_words(answers):.1%} of the words were heard otherwise")
        for answer in answers:
            print(f"  {answer.reply}\n  {answer.heard}")
        openings = await first_words(platform, "brief")
        print(f"whole from the first frame: {sum(one.whole for one in openings)} of {len(openings)}")
        for opening in openings:
            print(f"  {opening.said} | {opening.heard}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.speech", description=(__doc__ or "").split("\n\n")[0])
    parser.parse_args()
    processes.run(report())


if __name__ == "__main__":
    main()
