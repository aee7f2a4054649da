"""Who speaks how long, who is interrupted, and how fast each agent answers: live, from the events of all calls.

    python examples/talk_time.py [--nats URL] [--json]

A call counts from the moment this is started; how fast an answer was is known of calls that opened after that.
"""

import argparse
import asyncio
import json
import math
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any

import nats
from nats.aio.msg import Msg
from rich.live import Live
from rich.table import Table

from schemas import events, subjects
from schemas.audio import CALLER_HZ
from schemas.events import Event
from session import latency
from session.state import SessionState, fold

EVERY_S = 1.0  # the table is drawn anew, or a line of JSON is written if something changed
MAX_ANSWERS = 10_000  # of an agent, the newest: percentiles of a day and bounded memory
MAX_CALLS = 10_000  # at once; those that never say that they closed make room
PERCENTILES = (50, 95, 99)


class Agent:
    """What is counted of one agent. answers: milliseconds from the caller's end of speech to the first audio out."""

    def __init__(self) -> None:
        self.calls = 0
        self.turns = 0
        self.interruptions = 0
        self.caller_s = 0.0
        self.agent_s = 0.0
        self.answers: deque[int] = deque(maxlen=MAX_ANSWERS)

    def told(self) -> dict[str, Any]:
        ordered = sorted(self.answers)
        return {
            "calls": self.calls,
            "turns": self.turns,
            "interruptions": self.interruptions,
            "caller_s": round(self.caller_s, 1),
            "agent_s": round(self.agent_s, 1),
            **{f"p{rank}_ms": percentile(ordered, rank) for rank in PERCENTILES},
        }


class TalkTime:
    """All agents, from the events of their calls in the order they come."""

    def __init__(self) -> None:
        self.agents: defaultdict[str, Agent] = defaultdict(Agent)
        self._calls: dict[str, SessionState] = {}

    def hear(self, event: Event) -> None:
        before = self._calls.pop(event.session, None)
        agent = self.agents[event.agent]
        agent.calls += before is None
        state = fold(before or SessionState(), event)
        if state is before:  # it was said before, or by an owner that was replaced
            self._calls[event.session] = before
            return
        match event:
            case events.SpeechEnded() if before and event.utterance in before.utterances:
                agent.caller_s += (event.until_sample - before.utterances[event.utterance].start) / CALLER_HZ
            case events.PlaybackEnded():
                agent.agent_s += event.heard_ms / 1000
            case events.TurnEnded():
                agent.turns += 1
                agent.interruptions += event.interrupted
                falls = latency.waterfall(state, event.turn)
                if falls and falls.total_ms is not None and falls.marks[0].name == latency.END_OF_SPEECH:
                    agent.answers.append(falls.total_ms)
            case _:
                pass
        if state.closed is None:
            self._calls[event.session] = state  # as the newest
            if len(self._calls) > MAX_CALLS:
                del self._calls[next(iter(self._calls))]

    def table(self) -> Table:
        columns = ("agent", "calls", "turns", "interrupted", "caller spoke", "agent spoke")
        table = Table(*columns, *(f"answer p{rank}" for rank in PERCENTILES), box=None, header_style="bold")
        for name, agent in sorted(self.agents.items()):
            told = agent.told()
            waits = ["" if told[f"p{rank}_ms"] is None else f"{told[f'p{rank}_ms']} ms" for rank in PERCENTILES]
            counted = [str(told[key]) for key in ("calls", "turns", "interruptions")]
            table.add_row(name, *counted, f"{told['caller_s']} s", f"{told['agent_s']} s", *waits)
        return table


def percentile(ordered: list[int], rank: int) -> int | None:
    """The smallest value that `rank` percent do not exceed, None of nothing."""
    return ordered[math.ceil(len(ordered) * rank / 100) - 1] if ordered else None


async def main(url: str, as_json: bool) -> None:
    talk = TalkTime()

    async def heard(message: Msg) -> None:
        with suppress(events.BadEvent):  # of a later version
            talk.hear(events.decode(message.data))

    bus = await nats.connect(url)
    await bus.subscribe(subjects.events(), cb=heard)
    await bus.flush()  # from here on nothing is missed
    if as_json:
        written = ""
        while True:
            line = json.dumps({"agents": {name: agent.told() for name, agent in talk.agents.items()}})
            if line != written:
                print(written := line, flush=True)
            await asyncio.sleep(EVERY_S)
    with Live(talk.table(), auto_refresh=False) as live:  # where there is no terminal it shows once, at the end
        try:
            while True:
                live.update(talk.table(), refresh=True)
                await asyncio.sleep(EVERY_S)
        finally:
            live.update(talk.table())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Talk time, interruptions and latencies of all agents, live.")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", metavar="URL")
    parser.add_argument("--json", action="store_true", help="a line whenever something changed, at most one a second")
    told = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(main(told.nats, told.json))
