"""Measure calls in which the agent hears itself: its sound comes back 150 ms later at -20, -30 and -40 dB.

In each call the caller asks questions and lets the agent finish, then interrupts an answer. Counted are turns that
answer the agent's own words, answers that they cut, and interruptions by the caller that stopped the agent.
"""

import argparse
import asyncio
from contextlib import suppress
from typing import NamedTuple

from antiphon_testing.echo_path import EchoPath
from antiphon_testing.simulated_caller import ProcessPlatform, SimulatedCaller, open_process_platform
from antiphon_testing.wer import words
from cli import processes
from cli.audiofile import read_pcm
from cli.demo_voice import speak
from cli.discovery import weights_folder
from schemas.agent import AgentDocument
from schemas.events import TurnCancelled, TurnEnded, TurnStarted

LEVELS_DB = (-20.0, -30.0, -40.0)
QUESTIONS = ("Where can I leave my car?", "How much does a check-up cost?", "When do you open on Monday?")
INTERRUPTION = "Wait, I have another question."
REPLIES = (
    "You can park behind the building, and the first two hours are free. After that you pay at the machine.",
    "A check-up costs sixty dollars for adults. Children under twelve are seen without any charge at all.",
    "On Monday we begin at eight in the morning. The last appointment of the day starts at half past five.",
    "Our dentists have worked here for many years, and each of them speaks at least two languages very well.",
    "Of course, go ahead. I am listening to you now, and you may take as much time as you need.",
)
GREETING = "Good morning, this is the reception of the dental practice on Mill Street. How may I help you today?"
SPOKEN_WITHIN_S = 60.0
INTO_REPLY_S = 1.5  # after which the caller interrupts


class Speakerphone(NamedTuple):
    """One call.

    echo_turns: answered the agent's words. cut: answers that echo ended. stopped: the interruption stopped an answer.
    answered: it was answered. greeted: the greeting was heard to its end.
    """

    level_db: float | None
    asked: int
    echo_turns: int
    cut: int
    stopped: bool
    answered: bool
    greeted: bool
    texts: list[str]


def agent() -> AgentDocument:
    """Return an agent with a real voice and recognizer, whose replies are known."""
    return AgentDocument.model_validate(
        {
            "id": "speakerphone",
            "greeting": GREETING,
            "llm": {"provider": "scripted", "options": {"replies": list(REPLIES)}},
        }
    )


async def call(
    platform: ProcessPlatform, level_db: float | None, asked: tuple[str, ...] = (*QUESTIONS, QUESTIONS[0])
) -> Speakerphone:
    """Make one call with echo at `level_db`, None for none. The answer to the last question is interrupted."""
    *questions, interruption = await speak([*asked, INTERRUPTION], weights_folder() / "caller")
    echo = None if level_db is None else EchoPath(level_db)
    interrupted = 0
    async with platform.call("speakerphone", echo) as caller:
        with suppress(TimeoutError):  # an agent that answers itself never finishes
            await caller.heard_out(SPOKEN_WITHIN_S)
            for question in questions[:-1]:
                caller.say(read_pcm(question))
                await caller.heard_out(SPOKEN_WITHIN_S)
            caller.say(read_pcm(questions[-1]))
            interrupted = await _speaks(caller, max(caller.state.turns))
            await asyncio.sleep(INTO_REPLY_S)
            caller.say(read_pcm(interruption))
            await caller.heard_out(SPOKEN_WITHIN_S)
    return _judged(caller, level_db, len(questions), interrupted)


async def _speaks(caller: SimulatedCaller, last: int) -> int:
    """Return the turn after `last` once it sounds."""
    await caller.until(lambda: caller.state.speaking > last, SPOKEN_WITHIN_S)
    return caller.state.speaking


def _judged(caller: SimulatedCaller, level_db: float | None, asked: int, interrupted: int) -> Speakerphone:
    started = [turn for turn in caller.events(TurnStarted) if turn.text]
    own = [turn for turn in started if not _is_of_caller(turn.text)]
    cancelled = {turn.turn for turn in caller.events(TurnCancelled)}
    cut = {turn.turn for turn in caller.events(TurnEnded) if turn.interrupted} - {interrupted}
    answered = any(words(turn.text)[-1:] == ["question"] for turn in started)
    greeted = caller.state.turns[1].heard == GREETING and 1 not in cut
    texts = [f"{turn.text} | {caller.state.turns[turn.turn].heard}" for turn in started]
    return Speakerphone(level_db, asked, len(own), len(cut), interrupted in cancelled, answered, greeted, texts)


def _is_of_caller(text: str) -> bool:
    """Whether most words of one of the caller's sentences are in `text`."""
    heard = set(words(text))
    return any(len(heard & set(words(said))) * 2 > len(set(words(said))) for said in (*QUESTIONS, INTERRUPTION))


async def measure() -> list[Speakerphone]:
    """Make the calls one after the other: a recognizer that is late cuts sentences, with echo or without."""
    async with open_process_platform(agent()) as platform:
        return [await call(platform, level_db) for level_db in (None, *LEVELS_DB)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.speakerphone", description=(__doc__ or "").split("\n\n")[0])
    parser.parse_args()
    processes.run(_report())


async def _report() -> None:
    for one in await measure():
        level = "no echo" if one.level_db is None else f"{one.level_db:.0f} dB"
        print(f"{level}: {one.asked} questions, {one.echo_turns} turns for echo, {one.cut} answers cut;", end=" ")
        print(f"interruption: stopped {one.stopped}, answered {one.answered}")
        for text in one.texts:
            print(f"  {text}")


if __name__ == "__main__":
    main()
