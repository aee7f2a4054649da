"""Stories of a call as the llm stage tells them: real session, real scripted model, virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from antiphon_testing import stage as kit
from antiphon_testing.virtual_time import in_virtual_time
from schemas.audio import CALLER_HZ
from schemas.events import (
    Cause,
    LlmProviderFailed,
    Paused,
    PlaybackEnded,
    PlaybackStarted,
    ReplyResumed,
    Resumed,
    SegmentSynthesized,
    SentenceReady,
    SessionOpened,
    SpeechEnded,
    SpeechStarted,
    TextReceived,
    TranscriptFinal,
    TranscriptInterim,
    TurnCancelled,
    TurnEnded,
    TurnStarted,
    Usage,
)
from session import recoverable
from session.state import SessionState, fold
from stages.llm import stage
from stages.llm.contract import SILENT_S, Capabilities, Finish, Progress, ReplyItem, ReplyRequest, TextDelta
from stages.llm.reply import APOLOGY, MAX_REPLY
from stages.llm.waiting_notice import notice
from stages.runtime.providers import ProviderError, Providers

WAIT = notice("en")
WORD_MS = 400  # how long every word of the agent sounds in these stories


class Talk:
    """A call with the llm stage under test; this is the caller, the recogniser, the voice and the ear."""

    def __init__(self, call: kit.Call) -> None:
        self.call = call
        self.utterance = -1

    def starts(self) -> None:
        self.utterance += 1
        self.call.hear(SpeechStarted(utterance=self.utterance, start_sample=self._at()))

    def stops(self, text: str | None, *, ends_turn: bool | None = None) -> None:
        self.call.hear(SpeechEnded(utterance=self.utterance, until_sample=self._at()))
        if text is not None:
            final = TranscriptFinal(
                utterance=self.utterance, text=text, start_sample=0, until_sample=self._at(), end_of_turn=ends_turn
            )
            self.call.hear(final)

    async def asks(self, text: str, ms: int = 1_000) -> None:
        self.starts()
        await self.call.wait_ms(ms)
        self.stops(text)

    async def whole_reply(self, turn: int) -> list[SentenceReady]:
        """Its segments once the last is there, each spoken by the voice."""
        await self.call.publishes(SentenceReady, turn=turn, last=True)
        segments = [sentence for sentence in self.call.published(SentenceReady) if sentence.turn == turn]
        for one in segments:
            duration_ms = len(one.text.split()) * WORD_MS
            self.call.hear(SegmentSynthesized(turn=turn, segment=one.segment, duration_ms=duration_ms))
        return segments

    async def is_heard_out(self, turn: int) -> str:
        """What history keeps of it."""
        segments = await self.whole_reply(turn)
        self.call.hear(PlaybackStarted(turn=turn))
        heard_ms = sum(len(segment.text.split()) for segment in segments) * WORD_MS
        await self.call.wait_ms(heard_ms)
        self.call.hear(PlaybackEnded(turn=turn, heard_ms=heard_ms))
        return (await self.call.publishes(TurnEnded, turn=turn)).heard

    def _at(self) -> int:
        return self.call.session.now_ms() * CALLER_HZ // 1000


@asynccontextmanager
async def talk(*replies: str, **agent: Any) -> AsyncIterator[Talk]:
    document = {"llm": {"provider": "scripted", "options": {"replies": list(replies or ["You said {text}"])}}, **agent}
    async with kit.call(stage, document) as call:
        call.hear(SessionOpened(owners=call.session.owners, coordinator="c", transport="null", started_us=0, config={}))
        await call.settle()
        yield Talk(call)


def texts(segments: list[SentenceReady]) -> list[str]:
    return [segment.text for segment in segments]


# --- turns ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_the_agent_greets_and_then_answers_with_turn_two() -> None:
    async with talk(greeting="Hello. How can I help?") as one:
        assert texts(await one.whole_reply(1)) == ["Hello.", "How can I help?"]
        assert one.call.published(TurnStarted)[0].answers == -1
        assert await one.is_heard_out(1) == "Hello. How can I help?"
        await one.asks("When do you open?")
        started = await one.call.publishes(TurnStarted, turn=2)
        assert (started.answers, started.text) == (0, "When do you open?")
        assert texts(await one.whole_reply(2)) == ["You said When do you open?"]


@in_virtual_time
async def test_a_sentence_that_made_no_sound_is_not_filed_as_heard() -> None:
    async with talk("We open at nine. \u3053\u3093\u306b\u3061\u306f\u3002 We close at five.", "{text}") as one:
        await one.asks("When do you open?")
        await one.call.publishes(SentenceReady, turn=2, last=True)
        sentences = texts([sentence for sentence in one.call.published(SentenceReady) if sentence.turn == 2])
        assert len(sentences) == 3
        for segment, duration_ms in enumerate((1_600, 0, 1_600)):
            one.call.hear(SegmentSynthesized(turn=2, segment=segment, duration_ms=duration_ms))
        one.call.hear(PlaybackStarted(turn=2))
        await one.call.wait_ms(3_200)
        one.call.hear(PlaybackEnded(turn=2, heard_ms=3_200))
        assert (await one.call.publishes(TurnEnded, turn=2)).heard == "We open at nine. We close at five."


@in_virtual_time
async def test_a_turn_without_sound_leaves_nothing_of_it_in_the_history() -> None:
    async with talk("We open at nine.", "{text}") as one:
        await one.asks("When do you open?")
        await one.call.publishes(SentenceReady, turn=2, last=True)
        one.call.hear(SegmentSynthesized(turn=2, segment=0, duration_ms=0))
        one.call.hear(PlaybackEnded(turn=2, heard_ms=0))
        assert (await one.call.publishes(TurnEnded, turn=2)).heard == ""


@in_virtual_time
async def test_typed_words_stop_the_answer_and_are_in_the_history() -> None:
    async with talk("One two three four five six.", "{text}") as one:
        one.call.hear(TextReceived(text="Count, please.", number=1))
        started = await one.call.publishes(TurnStarted, turn=2)
        assert (started.answers, started.typed, started.text) == (-1, 1, "Count, please.")
        assert started.cause == Cause("ingress", kit.EPOCH, 1)
        await one.whole_reply(2)
        one.call.hear(PlaybackStarted(turn=2))
        await one.call.wait_ms(900)
        one.call.hear(TextReceived(text="And backwards?", number=2))
        await one.call.publishes(TurnCancelled, turn=2)
        one.call.hear(PlaybackEnded(turn=2, heard_ms=900, interrupted=True))
        assert (await one.call.publishes(TurnEnded, turn=2)).heard == "One two"
        assert texts(await one.whole_reply(3)) == ["And backwards?"]
        asked = one.call.stage._ask("?").history
        assert [(entry.role, entry.content) for entry in asked] == [
            ("user", "Count, please."), ("assistant", "One two —"), ("user", "And backwards?")
        ]  # fmt: skip


@in_virtual_time
async def test_the_first_clause_is_ready_before_the_reply_is_written() -> None:
    async with talk("We open at nine, as always. And we close at five.") as one:
        one.starts()
        one.stops("When do you open?", ends_turn=True)
        segments = await one.whole_reply(2)
        assert texts(segments) == ["We open at nine,", "as always.", "And we close at five."]
        assert [segment.segment for segment in segments] == [0, 1, 2]
        assert [segment.last for segment in segments] == [False, False, True]
        assert [segment.first_token_ms for segment in segments] == [50, None, None]
        assert segments[0].now_ms < segments[-1].now_ms


@in_virtual_time
async def test_a_decision_names_what_caused_it_and_one_that_time_made_has_no_cause() -> None:
    async with talk() as one:
        one.starts()
        await one.call.wait_ms(1_000)
        one.stops("When do you open?", ends_turn=True)
        started = await one.call.publishes(TurnStarted, turn=2)
        assert started.cause == Cause("stt", kit.EPOCH, 2)
        assert started.now_ms == 1_000
        await one.is_heard_out(2)
        await one.asks("And on Sunday?")
        assert (await one.call.publishes(TurnStarted, turn=3)).cause is None


@in_virtual_time
async def test_a_cough_does_not_end_the_answer() -> None:
    async with talk("One. Two. Three.") as one:
        await one.asks("Count, please.")
        await one.whole_reply(2)
        one.call.hear(PlaybackStarted(turn=2))
        await one.call.wait_ms(500)
        one.starts()
        one.call.hear(Paused(turn=2, segment=1, heard_ms=500, utterance=1))
        await one.call.wait_ms(200)
        one.stops("")
        assert (await one.call.publishes(ReplyResumed)).utterance == 1
        one.call.hear(Resumed(turn=2, heard_ms=500, utterance=1))
        await one.call.wait_ms(700)
        one.call.hear(PlaybackEnded(turn=2, heard_ms=1_200))
        assert (await one.call.publishes(TurnEnded, turn=2)).heard == "One. Two. Three."
        assert one.call.published(TurnCancelled) == []


@in_virtual_time
async def test_the_agents_own_words_are_neither_a_turn_nor_an_interruption() -> None:
    async with talk("{text}", greeting="Good morning, this is the dental practice. How may I help you?") as one:
        await one.whole_reply(1)
        one.call.hear(PlaybackStarted(turn=1, time=1))
        await one.call.wait_ms(800)
        one.starts()
        one.call.hear(Paused(turn=1, segment=0, heard_ms=900, utterance=0))
        await one.call.wait_ms(300)
        one.call.hear(TranscriptInterim(utterance=0, text="Good morning", start_sample=0, until_sample=1))
        one.stops("Good morning, this")
        assert (await one.call.publishes(ReplyResumed, utterance=0)).echo
        one.call.hear(Resumed(turn=1, heard_ms=900, utterance=0))
        one.starts()  # and from now on it goes on as long as the agent speaks
        await one.call.wait_ms(2_000)
        one.call.hear(TranscriptInterim(utterance=1, text="Is the dental practise", start_sample=0, until_sample=1))
        await one.call.wait_ms(400)
        assert one.call.published(TurnCancelled) == []
        interim = TranscriptInterim(
            utterance=1, text="Is the dental practise how are you open now?", start_sample=0, until_sample=2
        )
        one.call.hear(interim)
        await one.call.publishes(TurnCancelled, turn=1, reason="interrupted")
        one.call.hear(PlaybackEnded(turn=1, heard_ms=3_400, interrupted=True))
        one.stops("Is the dental practise how are you open now?")
        assert (await one.call.publishes(TurnStarted, turn=2)).text == "are you open now?"


@in_virtual_time
async def test_a_new_owner_knows_that_the_line_echoes() -> None:
    async with talk("{text}", greeting="Good morning, this is the dental practice.") as one:
        one.call.hear(PlaybackStarted(turn=1, time=1))
        await one.whole_reply(1)
        await one.call.wait_ms(800)
        await one.asks("Good morning, this", 400)
        await one.call.publishes(ReplyResumed, utterance=0, echo=True)
        state = SessionState()
        for event in one.call.events:
            state = fold(state, event)
    assert state.echoes
    assert recoverable.egress(state).echoes


@in_virtual_time
async def test_words_stop_the_answer_and_history_keeps_what_was_heard() -> None:
    async with talk("One two three four five six.", "{text}") as one:
        await one.asks("Count, please.")
        await one.whole_reply(2)
        one.call.hear(PlaybackStarted(turn=2))
        await one.call.wait_ms(900)
        one.starts()
        one.call.hear(Paused(turn=2, segment=0, heard_ms=900, utterance=1))
        one.call.hear(TranscriptInterim(utterance=1, text="No stop", start_sample=0, until_sample=0))
        await one.call.publishes(TurnCancelled, turn=2)
        one.call.hear(PlaybackEnded(turn=2, heard_ms=900, interrupted=True))
        ended = await one.call.publishes(TurnEnded, turn=2)
        assert (ended.heard, ended.interrupted) == ("One two", True)
        one.stops("No stop, what about Sunday?")
        assert (await one.call.publishes(TurnStarted, turn=3)).answers == 1


@in_virtual_time
async def test_a_cancelled_reply_says_nothing_more() -> None:
    async with talk("One. " * 200) as one:
        await one.asks("Count, please.")
        await one.call.publishes(SentenceReady, turn=2, segment=3)
        one.starts()
        one.call.hear(TranscriptInterim(utterance=1, text="No stop", start_sample=0, until_sample=0))
        await one.call.publishes(TurnCancelled, turn=2)
        await one.call.wait_ms(5_000)
        kinds = [type(event) for event in one.call.events]
        assert SentenceReady not in kinds[kinds.index(TurnCancelled) :]


@in_virtual_time
async def test_who_adds_something_before_the_answer_sounds_is_answered_as_a_whole() -> None:
    async with talk() as one:
        await one.asks("When do you open?")
        await one.call.publishes(TurnStarted, turn=2)
        await one.asks("On Sunday, I mean.")
        assert (await one.call.publishes(TurnStarted, turn=3)).text == "When do you open? On Sunday, I mean."


@in_virtual_time
async def test_a_call_that_ends_in_mid_sentence_keeps_what_was_heard_so_far() -> None:
    async with talk("One two three four five six.") as one:
        await one.asks("Count, please.")
        await one.whole_reply(2)
        one.call.hear(PlaybackStarted(turn=2))
        await one.call.wait_ms(900)
    [ended] = one.call.published(TurnEnded)
    assert (ended.turn, ended.heard, ended.interrupted) == (2, "One two", True)


# --- what the model is asked, and what it does ----------------------------------------------------------------------


class Model:
    """A model whose pieces and delays each story chooses; it remembers what it was asked, and whether it was closed."""

    capacity = None
    capabilities = Capabilities()
    model = "fake"

    def __init__(self, *script: str | float | Exception | ReplyItem) -> None:
        self.script = script
        self.requests: list[ReplyRequest] = []
        self.closed = 0

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator["Model"]:
        yield self

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        self.requests.append(request)
        try:
            for one in self.script:
                if isinstance(one, Exception):
                    raise one
                if isinstance(one, float):
                    await asyncio.sleep(one)
                else:
                    yield TextDelta(one) if isinstance(one, str) else one
            if not any(isinstance(one, Finish) for one in self.script):
                yield Finish()
        finally:
            self.closed += 1


@asynccontextmanager
async def talk_to(model: Model, monkeypatch: pytest.MonkeyPatch, **agent: Any) -> AsyncIterator[Talk]:
    async def get(self: Providers[Model], name: str) -> Model:
        return model

    monkeypatch.setattr(Providers, "get", get)
    async with AsyncExitStack() as exits:
        yield await exits.enter_async_context(talk(**agent))


def test_the_model_is_asked_with_what_was_heard_and_with_the_facts_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model("At nine, every day.")
        facts = ["We open at nine.", {"text": "Parking is free.", "asks": ["can I park"]}]
        async with talk_to(model, monkeypatch, greeting="Hello.", prompt="Be kind.", facts=facts) as one:
            await one.is_heard_out(1)
            await one.asks("When do you open?")
            await one.is_heard_out(2)
            await one.asks("Where can I park?")
            await one.is_heard_out(3)
        last = model.requests[-1]
        assert (last.session, last.prompt, last.utterance) == ("s1", "Be kind.", "Where can I park?")
        assert last.facts[0][1].text == "Parking is free."
        assert [(entry.role, entry.content) for entry in last.history] == [
            ("assistant", "Hello."),
            ("user", "When do you open?"),
            ("assistant", "At nine, every day."),
        ]

    story()


@pytest.mark.parametrize(
    ("script", "spoken", "kind"),
    [
        ([ProviderError("quota", "no more", retryable=True)], [APOLOGY], "quota"),
        (["We op", ProviderError("server", "gone")], [APOLOGY], "server"),
        (["We open. At n", ProviderError("server", "gone")], ["We open.", ""], "server"),
        ([SILENT_S * 2, "Too late."], [WAIT, APOLOGY], "timeout"),
        (["We open. ", "At ", SILENT_S * 2, "nine."], ["We open.", ""], "timeout"),
        ([], [APOLOGY], "server"),
        ([" ", "**"], [APOLOGY], "server"),
    ],
)
def test_a_model_that_fails_never_leaves_the_caller_in_silence(
    monkeypatch: pytest.MonkeyPatch, script: list[Any], spoken: list[str], kind: str
) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model(*script)
        async with talk_to(model, monkeypatch, turns={"preemptive_generation": False}) as one:
            await one.asks("When do you open?")
            await one.call.wait_ms(SILENT_S * 1000 + 500)
            segments = await one.whole_reply(2)
            assert texts(segments) == spoken
            assert [segment.last for segment in segments] == [*[False] * (len(spoken) - 1), True]
            [failed] = one.call.published(LlmProviderFailed)
            assert (failed.turn, failed.kind) == (2, kind)
            assert model.closed == 1

    story()


def test_a_slow_reply_is_announced_once_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        reasons: list[ReplyItem | float] = [Progress(), 1.0]
        model = Model(*reasons * 8, "At nine.")
        async with talk_to(model, monkeypatch, turns={"preemptive_generation": False}) as one:
            await one.asks("When do you open?")
            first = await one.call.publishes(SentenceReady, turn=2)
            assert (first.text, first.kind, first.last) == (WAIT, "notice", False)
            assert first.now_ms - one.call.published(TurnStarted)[-1].now_ms == pytest.approx(3_000, abs=100)
            assert await one.is_heard_out(2) == "At nine."  # no word of the notice is history
            assert texts(await one.whole_reply(2)) == [WAIT, "At nine."]
            assert one.call.published(LlmProviderFailed) == []

    story()


def test_the_rest_of_a_reply_without_a_stop_is_the_last_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        async with talk_to(Model("We open. ", "At nine"), monkeypatch) as one:
            await one.asks("When do you open?")
            assert texts(await one.whole_reply(2)) == ["We open.", "At nine"]
            assert one.call.published(LlmProviderFailed) == []

    story()


def test_a_question_that_was_asked_again_stands_in_the_history_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model("At nine.")
        async with talk_to(model, monkeypatch) as one:
            await one.asks("When do you open?")
            await one.call.publishes(TurnStarted, turn=2)
            await one.asks("On Sunday, I mean.")
            one.call.hear(PlaybackEnded(turn=2, heard_ms=0, interrupted=True))
            await one.is_heard_out(3)
            await one.asks("Thank you so much.")
            await one.call.publishes(TurnStarted, turn=4)
        assert [entry.content for entry in model.requests[-1].history] == [
            "When do you open? On Sunday, I mean.",
            "At nine.",
        ]

    story()


def test_a_model_that_never_stops_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model(*["Again. "] * MAX_REPLY)
        async with talk_to(model, monkeypatch) as one:
            await one.asks("When do you open?")
            assert sum(len(text) for text in texts(await one.whole_reply(2))) <= MAX_REPLY
            assert model.closed == 1

    story()


def test_a_cancelled_turn_closes_the_model_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model("One. ", 5.0, "Two.")
        async with talk_to(model, monkeypatch) as one:
            await one.asks("Count, please.")
            await one.call.publishes(TurnStarted, turn=2)
            await one.call.settle()
            assert (len(model.requests), model.closed) == (1, 0)
            one.starts()
            one.call.hear(TranscriptInterim(utterance=1, text="No stop", start_sample=0, until_sample=0))
            await one.call.settle()
            assert model.closed == 1
            assert one.call.published(LlmProviderFailed) == []

    story()


@in_virtual_time
async def test_a_long_call_leaves_no_alarms_behind() -> None:
    async with talk() as one:
        one.starts()
        await one.call.wait_ms(100)
        for _ in range(100):
            one.call.hear(TranscriptInterim(utterance=0, text="so", start_sample=0, until_sample=0))
            one.stops("so", ends_turn=False)
            await one.call.wait_ms(200)
            one.starts()
            await one.call.wait_ms(200)
        await one.call.wait_ms(10_000)
        assert one.call.published(TurnStarted) == []
        assert one.call.context.lifetime.timers == 0


def test_a_turn_that_ended_says_who_wrote_it_and_what_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model("We open at nine. And we cl", Usage(9, 4, 3), Finish("length"))
        async with talk_to(model, monkeypatch, greeting="Hello.") as one:
            await one.is_heard_out(1)
            await one.asks("When do you open?")
            await one.is_heard_out(2)
            greeting, ended = one.call.published(TurnEnded)
        assert (greeting.provider, greeting.model, greeting.usage, greeting.truncated) == ("", "", None, False)
        assert (ended.provider, ended.model, ended.usage) == ("scripted", "fake", Usage(9, 4, 3))
        assert (ended.heard, ended.truncated) == ("We open at nine.", True)
        assert len(model.requests) == 1  # the reply was a draft, and its tokens count for the turn that used it

    story()


def test_an_apology_is_a_notice_and_no_part_of_the_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_virtual_time
    async def story() -> None:
        model = Model(ProviderError("bad_request", "HTTP 400"))
        async with talk_to(model, monkeypatch) as one:
            await one.asks("When do you open?")
            [notice] = await one.whole_reply(2)
            assert (notice.text, notice.kind, notice.last) == (APOLOGY, "notice", True)
            assert await one.is_heard_out(2) == ""
            await one.asks("When do you close?")
            await one.call.publishes(TurnStarted, turn=3)
            await one.call.settle()
        assert APOLOGY not in str(model.requests[-1].history)
        assert [entry.content for entry in model.requests[-1].history] == ["When do you open?"]
        assert len(one.call.published(LlmProviderFailed)) == 2  # one a turn

    story()
