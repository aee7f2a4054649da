"""Twenty calls at once over two workers of every stage, each a process: who owns what, and who hears whom."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path

from antiphon_testing.agents import scripted_agent
from antiphon_testing.processes import CallResult, Platform, alive, antiphon_up, running, until
from schemas import events, subjects

CALLS = 20
UTTERANCES = 2
LATE = {"unknown_session", "unknown_to_owner", "undelivered"}  # frames on their way to a call that has just closed
NAMED = scripted_agent("named", llm={"replies": ["I am {session}."]})


async def all_open(home: Platform, calls: list[asyncio.Task[CallResult]], known: set[str], number: int) -> list[str]:
    """The sessions that opened beside `known`, once there are `number` of them."""

    def opened() -> list[str]:
        return [s for s in home.events.sessions if s not in known and home.events.of(s, events.SessionOpened)]

    await until(lambda: len(opened()) == number or any(call.done() for call in calls), 30)
    return opened()


async def held(home: Platform) -> dict[str, Counter[str]]:
    """stage -> how many workers of it hold each session, asked of all of them."""
    holders: dict[str, Counter[str]] = {stage: Counter() for stage in subjects.STAGES}
    for worker in await home.workers():
        holders[worker.stage].update(session.session for session in worker.sessions)
    return holders


def heard_itself_alone(call: CallResult, sessions: list[str]) -> bool:
    """From the audio alone: its own answers, whole, and not a trace of another call."""
    others = [session for session in sessions if session != call.session and session in " ".join(call.words)]
    return call.words == [f"I am {call.session}."] * UTTERANCES and not others


async def test_twenty_calls_on_two_workers_a_stage_do_not_cross(tmp_path: Path) -> None:
    async with antiphon_up(tmp_path, "--workers", "2") as home:
        await home.set(NAMED)
        assert Counter(worker.stage for worker in await home.workers()) == dict.fromkeys(subjects.STAGES, 2)
        doors = [worker.url for worker in await home.workers(subjects.INGRESS)]

        # --- twenty at once, through both doors ---
        calls = [asyncio.create_task(home.talk("named", UTTERANCES, url=doors[n % 2])) for n in range(CALLS)]
        first = await all_open(home, calls, set(), CALLS)
        shown = json.loads((await home.antiphon("ps", "--json")).out)
        holders = await held(home)
        answered = await asyncio.gather(*calls)
        assert sorted(call.session for call in answered) == sorted(first)
        assert [call for call in answered if call.problem or not heard_itself_alone(call, first)] == []
        for stage in subjects.STAGES:
            assert holders[stage] == dict.fromkeys(first, 1), stage
        workers = {worker["id"]: worker["stage"] for worker in shown["workers"]}
        assert sorted(session["session"] for session in shown["sessions"]) == sorted(first)
        for session in shown["sessions"]:
            assert {stage: workers[owner] for stage, owner in session["owners"].items()} == {
                stage: stage for stage in subjects.STAGES
            }
            opened = home.events.of(session["session"], events.SessionOpened)[0]
            assert {stage: owner.worker for stage, owner in opened.owners.items()}.items() <= session["owners"].items()
        for worker in await home.workers():
            assert worker.sessions == []
            assert set(worker.counters) <= LATE, worker.stage

        # --- a third recogniser takes new ones; one that is told to go finishes its own ---
        with running(tmp_path, "run", "stt", "--json", "--warm", "scripted", "--data", home.data) as third:
            newcomer = str((await third.ready())["worker"])
            calls = [asyncio.create_task(home.talk("named", UTTERANCES)) for _ in range(CALLS)]
            second = await all_open(home, calls, set(first), CALLS)
            owned = [s for s in second if stt_of(home, s) == newcomer]
            assert owned
            third.send(signal.SIGTERM)
            await until_draining(home, newcomer)
            late = [asyncio.create_task(home.talk("named", UTTERANCES)) for _ in range(CALLS // 2)]
            later = await all_open(home, late, {*first, *second}, len(late))
            assert newcomer not in {stt_of(home, session) for session in later}
            answered = await asyncio.gather(*calls, *late)
            assert [call for call in answered if call.problem or not heard_itself_alone(call, second + later)] == []
            for session in owned:
                assert (await home.events.until(session, events.SessionClosed)).reason == "hangup"
            assert await third.ended() == 0
            assert not alive(third.pid)


def stt_of(home: Platform, session: str) -> str:
    opened: events.SessionOpened = home.events.of(session, events.SessionOpened)[0]
    return opened.owners[subjects.STT].worker


async def until_draining(home: Platform, worker: str) -> None:
    """Return once it has said so, or has gone."""
    async with asyncio.timeout(10):
        while {status.id: status.state for status in await home.workers()}.get(worker, "draining") != "draining":
            await asyncio.sleep(0.05)
