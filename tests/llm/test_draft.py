"""Answers that are begun in a pause: used if the pause was the end, dropped if the caller said more."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from antiphon_testing.virtual_time import in_virtual_time
from schemas.events import LlmProviderFailed, SentenceReady, TurnStarted
from stages.llm.contract import Finish, ReplyItem, ReplyRequest, TextDelta
from stages.llm.stage import MOST_DRAFTS
from stages.runtime.providers import ProviderError
from tests.llm.test_stage import Model, talk_to, texts

PAUSE_MS = 300  # the default `min_delay_ms`
FIRST_S = 0.2  # what these models take


@pytest.fixture
def model() -> Model:
    return Model(FIRST_S, "We open at nine.")


def test_the_answer_is_written_while_the_caller_pauses(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    @in_virtual_time
    async def story() -> None:
        async with talk_to(model, monkeypatch) as one:
            await one.asks("When do you open?")
            await one.call.wait_ms(PAUSE_MS - 10)
            assert len(model.requests) == 1
            assert not one.call.published(TurnStarted)
            assert not one.call.published(SentenceReady)
            started = await one.call.publishes(TurnStarted, turn=2)
            first = await one.call.publishes(SentenceReady, turn=2)
            assert first.now_ms == started.now_ms
            assert first.first_token_ms == 0
            assert texts(await one.whole_reply(2)) == ["We open at nine."]
            assert (len(model.requests), model.closed) == (1, 1)
            assert one.call.inbox.counted() == {}

    story()


def test_who_goes_on_is_answered_for_all_that_was_said(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    @in_virtual_time
    async def story() -> None:
        async with talk_to(model, monkeypatch) as one:
            await one.asks("When do you open?")
            await one.call.wait_ms(PAUSE_MS - 50)
            one.starts()
            await one.call.settle()
            assert model.closed == 1  # at once: nobody pays for more of it
            assert one.call.inbox.counted() == {"draft_dropped": 1}
            await one.call.wait_ms(500)
            one.stops("On Sundays, I mean.")
            assert (await one.call.publishes(TurnStarted, turn=2)).text == "When do you open? On Sundays, I mean."
            await one.whole_reply(2)
            assert [request.utterance for request in model.requests] == [
                "When do you open?",
                "When do you open? On Sundays, I mean.",
            ]

    story()


@pytest.mark.parametrize(
    ("said", "preemptive"), [("I would like to", True), ("When do you open?", False)], ids=["unfinished", "off"]
)
def test_nothing_is_asked_before_the_turn(
    monkeypatch: pytest.MonkeyPatch, model: Model, said: str, preemptive: bool
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with talk_to(
            model, monkeypatch, turns={"preemptive_generation": preemptive, "max_delay_ms": 2_000}
        ) as one:
            await one.asks(said)
            await one.call.wait_ms(PAUSE_MS - 10)
            assert model.requests == []
            await one.call.publishes(TurnStarted, turn=2)
            await one.whole_reply(2)
            assert len(model.requests) == 1

    story()


def test_who_pauses_at_every_word_costs_no_more_than_a_few_drafts(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with talk_to(model, monkeypatch) as one:
            for number in range(2 * MOST_DRAFTS):
                await one.asks(f"Number {number}.", 300)
                await one.call.wait_ms(PAUSE_MS - 50)
            await one.whole_reply(2)
            assert len(model.requests) == MOST_DRAFTS + 1
            await one.asks("And now?")  # over the answer, which ends it: a new turn has drafts of its own
            await one.call.wait_ms(PAUSE_MS - 50)
            assert len(model.requests) == MOST_DRAFTS + 2

    story()


class Moody(Model):
    """Fails the first time."""

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        self.requests.append(request)
        await asyncio.sleep(FIRST_S / 2)
        if len(self.requests) == 1:
            raise ProviderError("quota", "not now", retryable=True)
        yield TextDelta("We open at nine.")
        yield Finish()


def test_a_draft_that_failed_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        moody = Moody()
        async with talk_to(moody, monkeypatch) as one:
            await one.asks("When do you open?")
            assert texts(await one.whole_reply(2)) == ["We open at nine."]
            assert one.call.published(LlmProviderFailed) == []
            assert len(moody.requests) == 2

    story()
