"""Workers and sessions on a real bus: who owns what, who refuses, who notices that somebody is gone."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import WITHIN_S, open_platform
from bus import journal
from schemas import control, events, media, subjects
from session.state import SessionState, fold
from stages.ingress import owner_machine
from stages.runtime import stage_host

ECHO = scripted_agent("echo", greeting="Hello.", stt={"texts": ["first", "second"]}, tts={"duration_ms": 200})
LONG = {"start_ms": 700, "speech_ms": 300, "every_ms": 1_600, "linger_ms": 300}  # room for the greeting and each answer


async def test_a_call_is_answered_turn_by_turn(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=2, **LONG)
        await call.until(events.SessionClosed)
    assert [ended.heard for ended in call.all(events.TurnEnded)] == ["Hello.", "You said first.", "You said second."]
    assert call.tags[0] == "ingress.session_opened"
    assert call.tags[-1] == "ingress.session_closed"


async def test_every_speaker_counts_its_facts_without_a_gap(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=1, **LONG)
        await call.until(events.SessionClosed)
    for stage in subjects.STAGES:
        said = [(event.epoch, event.seq) for event in call.events if events.stage(event) == stage]
        assert said == [(said[0][0], number) for number in range(len(said))], stage


async def test_a_session_has_one_owner_a_stage_and_its_epochs_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        owner_machine, "CLAIM_WITHIN_MS", WITHIN_S * 1000
    )  # a claim that is repeated takes the next epoch
    async with open_platform(tmp_path, [ECHO], workers=2) as home:
        calls = [await home.simulated_call("echo", turns=1, **LONG) for _ in range(8)]
        opened = [await call.until(events.SessionOpened) for call in calls]
        held = {stage: [s for worker in home.workers[stage] for s in worker.sessions] for stage in subjects.CLAIMED}
        for call in calls:
            await call.until(events.SessionClosed)
    for stage in subjects.CLAIMED:
        assert sorted(held[stage]) == sorted(call.session for call in calls)
    for event in opened:
        assert sorted(owned.epoch for owned in event.owners.values()) == [2, 3, 4, 5]


async def test_a_full_worker_leaves_the_group_and_comes_back(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        small = await home.add(subjects.STT, capacity=1)
        calls = [await home.simulated_call("echo", turns=1, **LONG) for _ in range(6)]
        for call in calls:
            await call.until(events.SessionOpened)
        assert len(small.sessions) <= 1
        for call in calls:
            await call.until(events.SessionClosed)
        await home.stop(home.workers[subjects.STT][0])
        again = await home.simulated_call("echo", turns=1, **LONG)
        opened = await again.until(events.SessionOpened)
        assert opened.owners[subjects.STT].worker == small.id
        await again.until(events.SessionClosed)


async def test_a_draining_worker_finishes_its_own_and_takes_no_more(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        old = home.ingress
        first = await home.simulated_call("echo", turns=2, **LONG)
        await first.until(events.SessionOpened)
        draining = asyncio.create_task(home.stop(old))
        new = await home.add(subjects.INGRESS)
        second = await home.simulated_call("echo", turns=1, **LONG)
        opened = await second.until(events.SessionOpened)
        assert opened.coordinator == new.id
        closed = await first.until(events.SessionClosed)
        assert closed.reason == "hangup"
        assert len(first.all(events.TurnEnded)) == 3
        await draining
        await second.until(events.SessionClosed)


async def test_a_stage_without_a_worker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_machine, "CLAIM_FOR_MS", 300)
    async with open_platform(tmp_path, [ECHO]) as home:
        await home.stop(home.workers[subjects.TTS][0])
        call = await home.simulated_call("echo", turns=1, **LONG)
        closed = await call.until(events.SessionClosed)
    assert closed.reason == "no_worker"
    assert 'stage "tts"' in closed.detail


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"llm": {"provider": "nobody"}}, "llm has no provider 'nobody'"),
        ({"llm": {"provider": "openai", "options": {"model": "m"}}}, "OPENAI_API_KEY"),
        ({"tts": {"provider": "scripted", "options": {"first": 1}}}, "option first"),
    ],
)
async def test_a_provider_that_cannot_serve_is_named(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    async with open_platform(tmp_path, [ECHO.model_validate({**ECHO.model_dump(), **changes})]) as home:
        call = await home.simulated_call("echo", turns=1, **LONG)
        closed = await call.until(events.SessionClosed)
    assert says in closed.detail


async def test_a_draining_worker_hands_its_sessions_over(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        # Room for a hand-over within each answer: a caller who goes on is answered once for both turns.
        call = await home.simulated_call("echo", turns=2, **{**LONG, "every_ms": 4_000, "linger_ms": 2_000})
        await call.until(events.SessionOpened)
        for stage in subjects.CLAIMED:
            [old] = home.workers[stage]
            await home.add(stage)
            await home.stop(old, drain_s=5)
            assert not old.sessions
        closed = await call.until(events.SessionClosed)
    assert closed.reason == "hangup"
    assert [changed.stage for changed in call.all(events.OwnerChanged)] == list(subjects.CLAIMED)
    assert [ended.heard for ended in call.all(events.TurnEnded)] == ["Hello.", "You said first.", "You said second."]


async def test_a_stage_that_stays_without_a_worker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_machine, "TAKEOVER_WITHIN_MS", 300)
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=9, **LONG)
        await call.until(events.SessionOpened)
        _stop, run = home._runs.pop(home.workers[subjects.LLM][0].id)
        run.cancel()  # as good as dead: no heartbeat comes any more
        closed = await call.until(events.SessionClosed)
    assert closed.reason == "llm_lost"
    assert 'stage "llm"' in closed.detail


async def test_sessions_end_by_themselves_when_their_coordinator_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_host, "ORPHANED_AFTER_S", 0.5)
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=9, **LONG)
        await call.until(events.SessionOpened)
        _stop, run = home._runs.pop(home.ingress.id)
        run.cancel()
        await home.ingress.bus.client.close()  # its subscriptions go with it, as they do when a process dies
        async with asyncio.timeout(5):
            while any(home.workers[stage][0].sessions for stage in subjects.CLAIMED):
                await asyncio.sleep(0.02)


async def test_another_ingress_publishes_the_end_of_a_session_whose_ingress_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_host, "ORPHANED_AFTER_S", 0.5)
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=9, **LONG)
        await call.until(events.SessionOpened)
        _stop, run = home._runs.pop(home.ingress.id)
        run.cancel()
        await home.ingress.bus.client.close()
        await home.add(subjects.INGRESS)
        closed = await call.until(events.SessionClosed)
        assert closed.reason == "ingress_lost"
        await asyncio.sleep(1)  # every worker reports
        kept = [events.decode(data) for data in await journal.read(home.bus, call.session)]
    state = SessionState()
    for event in call.events:
        state = fold(state, event)
    assert state.closed == "ingress_lost"
    assert sum(isinstance(event, events.SessionClosed) for event in kept) == 1


async def test_a_claim_that_no_start_follows_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_host, "START_WITHIN_S", 0.2)
    async with open_platform(tmp_path, [ECHO]) as home:
        claim = control.ClaimStage("lonely", 7, "echo", "nobody", "null", ("scripted",))
        answer = await home.bus.request(subjects.claim(subjects.LLM), control.encode(claim), 1)
        assert control.decode(answer, control.Claimed).refused is None
        async with asyncio.timeout(3):
            while home.workers[subjects.LLM][0].sessions:
                await asyncio.sleep(0.02)


async def test_rubbish_on_the_bus_is_counted_and_the_call_goes_on(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=2, **LONG)
        await call.until(events.SessionOpened)
        stt = home.workers[subjects.STT][0]
        frame = media.encode(media.Frame(bytes(640), 1, 0, 16_000))
        to_stt = subjects.media(stt.id, call.session)
        for rubbish in (b"", frame[:20], frame[:-1], b"\x09" + frame[1:], frame + bytes(9_000), b"\x00" * 700):
            home.bus.publish_media(to_stt, rubbish)
        home.bus.publish_media(subjects.media(stt.id, "nobody"), frame)
        said = subjects.event("echo", call.session, "stt.speech_started")
        for rubbish in (b"", b"\xc1", msgspec.msgpack.encode({"event": "stt.speech_started", "utterance": "one"})):
            home.bus.publish(said, rubbish)
        for other in (
            subjects.claim(subjects.LLM),
            subjects.control(call.session, subjects.LLM, "start"),
            subjects.heartbeat(home.ingress.id, "nobody"),
            subjects.control(call.session, subjects.INGRESS, "close"),
        ):
            for rubbish in (b"", b"\xc1", b"\x81\xa7session\xa2\xff\xfe", b"\x91" * 100_000):
                home.bus.publish(other, rubbish)
        for ids in (("a b", "echo", "c"), ("s", "*", "c"), ("s", "echo", "c.d")):
            claim = control.ClaimStage(ids[0], 1, ids[1], ids[2], "null", ("scripted",))
            home.bus.publish(subjects.claim(subjects.LLM), control.encode(claim))
        await call.until(events.TurnEnded, 2)
        assert stt.status().counters["bad_frame"] == 6
        assert stt.status().counters["unknown_session"] == 1
        llm = home.workers[subjects.LLM][0].status().counters
        assert (llm["bad_event"], llm["bad_claim"], llm["bad_control"]) == (3, 7, 4)
        ingress = home.ingress.status().counters
        assert (ingress["bad_heartbeat"], ingress["bad_control"]) == (4, 4)
        closed = await call.until(events.SessionClosed)
    assert closed.reason == "hangup"
    assert [ended.heard for ended in call.all(events.TurnEnded)][-1] == "You said second."


async def test_what_never_came_is_counted(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [ECHO]) as home:
        call = await home.simulated_call("echo", turns=1, **LONG)
        await call.until(events.SessionOpened)
        stt = home.workers[subjects.STT][0]
        ingress = home.workers[subjects.INGRESS][0].sessions[call.session].context
        async with asyncio.timeout(WITHIN_S):
            while ingress._seq["media"] < 2:  # the first frames are on their way: what follows can leave a gap
                await asyncio.sleep(0.01)
        assert "gaps" not in stt.status().counters
        ingress._seq["media"] += 3  # as if the bus had dropped three frames
        await call.until(events.SpeechStarted)
        assert stt.status().counters["gaps"] == 3
        await call.until(events.SessionClosed)
        assert stt.status().counters["gaps"] == 3  # the worker remembers when the call is over
