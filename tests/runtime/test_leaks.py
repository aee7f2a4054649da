"""What a worker holds after many calls: as much as before the first."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import Platform, open_platform
from schemas import control, events, subjects
from stages.runtime import stage_host

CALLS = 30
AT_ONCE = 10
ENDING = (
    "Ingress._serve",
    "StageHost._live",
    "StageHost._close",
    "StageHost._unsubscribe",
    "call",
)  # a session that is not over yet
SHORT = scripted_agent("short", greeting="Hi.", stt={"interim_ms": 20, "final_ms": 20}, llm={"first_ms": 5})


async def calls(home: Platform, number: int) -> None:
    pattern = {"speech_ms": 200, "every_ms": 700, "turns": 2, "start_ms": 100, "linger_ms": 100}
    heard = [await home.simulated_call("short", **pattern) for _ in range(number)]
    for call in heard:
        await call.until(events.SessionClosed)
        await call.stop()
    async with asyncio.timeout(10):
        while any(name.startswith(ENDING) for name in tasks()):
            await asyncio.sleep(0.02)


def tasks() -> list[str]:
    return sorted(str(task.get_coro().__qualname__) for task in asyncio.all_tasks())  # type: ignore[union-attr]


def held(home: Platform) -> dict[str, list[str]]:
    """Tasks of the whole loop; subscriptions and what else grows with a session, of each worker."""
    found: dict[str, list[str]] = {"tasks": tasks()}
    for stage in subjects.STAGES:
        for worker in home.workers[stage]:
            for connection in (worker.bus._events, worker.bus._media):
                found[f"{stage} {connection.client._client_id}"] = sorted(
                    subscription.subject for subscription in connection.client._subs.values()
                )
            found[f"{stage} requests"] = [*map(str, worker.bus.client._resp_map or {})]
    return found


async def back_to(home: Platform, fresh: dict[str, list[str]]) -> None:
    """Return once the same is held again; what a call's last event left to do is done within moments."""
    try:
        async with asyncio.timeout(10):
            while held(home) != fresh:
                await asyncio.sleep(0.05)
    except TimeoutError:
        now = held(home)
        for key, was in fresh.items():
            assert Counter(now[key]) - Counter(was) == Counter(), key
        raise


async def test_tasks_and_subscriptions_are_exactly_back_after_many_calls(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [SHORT]) as home:
        await calls(home, AT_ONCE)  # what is opened at the first call stays open
        fresh = held(home)
        for _ in range(CALLS // AT_ONCE):
            await calls(home, AT_ONCE)
        await back_to(home, fresh)


async def test_a_worker_that_is_asked_again_for_a_session_holds_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_host, "START_WITHIN_S", 3.0)
    async with open_platform(tmp_path, [SHORT]) as home:
        [worker] = home.workers[subjects.LLM]
        fresh = held(home)

        async def claim(epoch: int) -> control.Refusal | None:
            asked = control.ClaimStage("late", epoch, "short", "nobody", "null", ("scripted",))
            answer = await home.bus.request(subjects.claim(subjects.LLM), control.encode(asked), 1)
            return control.decode(answer, control.Claimed).refused

        def subscribed() -> list[str]:
            of = [subscription.subject for subscription in worker.bus.client._subs.values()]
            return sorted(subject for subject in of if ".late." in subject)

        assert await claim(7) is None
        once = subscribed()
        # as ingress does when no answer came in time
        *older, newest = await asyncio.gather(*(claim(epoch) for epoch in (8, 9, 10)))
        assert newest is None
        assert set(older) <= {None, "superseded"}
        assert await claim(9) == "superseded"
        assert await claim(10) == "superseded"
        async with asyncio.timeout(5):
            while subscribed() != once:
                await asyncio.sleep(0.02)
        assert worker.sessions["late"].context.epoch == 10
        await back_to(home, fresh)  # no start follows
