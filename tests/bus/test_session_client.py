"""One client for every program that claims, follows and ends sessions."""

from pathlib import Path

import pytest

from antiphon_testing.agents import scripted_agent
from antiphon_testing.platform import open_platform
from bus.session_client import SessionClient, SessionRefused
from schemas import events, subjects
from schemas.subjects import BadId

WITHIN_S = 20.0
AGENT = scripted_agent("echo", greeting="Hello.", llm={"replies": ["You said {text}"]}, stt={"texts": ["one"]})


async def test_a_session_is_claimed_followed_to_its_end_and_folded(tmp_path: Path) -> None:
    seen: list[events.Event] = []
    async with open_platform(tmp_path, [AGENT]) as home:
        client = SessionClient(home.bus)
        async with client.subscribed(seen.append, agent="echo"):
            offer = await client.claim("echo", "null", options={"turns": 1, "linger_ms": 1_500})
            async with client.follow(offer.session) as followed:
                for rubbish in (b"", b"rubbish", b"\xc1"):  # is skipped
                    home.bus.publish(subjects.event("echo", offer.session, "stt.speech_started"), rubbish)
                closed = await followed.until(events.SessionClosed, within_s=WITHIN_S)
        assert closed.reason == "hangup"
        assert followed.closed.is_set()
        assert followed.state.closed == "hangup"
        assert [ended.heard for ended in followed.all(events.TurnEnded)][-1] == "You said one"
        assert {event.session for event in seen} == {offer.session}


async def test_a_session_is_ended_for_its_caller(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [AGENT]) as home:
        client = SessionClient(home.bus)
        offer = await client.claim("echo", "null", options={"turns": 9, "linger_ms": 60_000})
        async with client.follow(offer.session) as followed:
            await followed.until(events.SessionOpened, within_s=WITHIN_S)
            assert await client.close(offer.session)
            assert (await followed.until(events.SessionClosed, within_s=WITHIN_S)).reason == "hangup"
        assert not await client.close(offer.session)  # no ingress knows the session any more
        assert await client.session_in("no-such-room") is None


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with open_platform(tmp_path, [AGENT]) as home:
        client = SessionClient(home.bus)
        with pytest.raises(SessionRefused, match="nobody-there") as refused:
            await client.claim("nobody-there")
        assert refused.value.refusal == "unknown_agent"
        with pytest.raises(SessionRefused, match="cannot simulate this caller"):
            await client.claim("echo", "null", options={"volume": 3})
        with pytest.raises(BadId):
            await client.claim("no.body")
        await home.stop(home.ingress, drain_s=0)
        with pytest.raises(SessionRefused, match="no ingress is running") as nobody:
            await client.claim("echo")
        assert nobody.value.refusal == "no_worker"
