"""One reply as segments: what is spoken of streams that are slow, cut off, too long or no reply at all."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

import pytest

from antiphon_testing.virtual_time import in_virtual_time
from schemas.events.llm import Usage
from stages.llm.contract import (
    SILENT_S,
    ChatMessage,
    ContextTooLong,
    Finish,
    Progress,
    ReplyItem,
    ReplyRequest,
    TextDelta,
    ToolCall,
)
from stages.llm.reply import APOLOGY, FIRST_WORDS_S, FRAGMENT_S, MAX_REPLY, Piece, ask, segments
from stages.runtime.providers import ProviderError

Step = str | float | ReplyItem | Exception


async def stream(*script: Step) -> AsyncGenerator[ReplyItem, None]:
    """Text, items, errors; a number waits so many seconds."""
    for step in script:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            yield TextDelta(step) if isinstance(step, str) else step


class Spoken(NamedTuple):
    pieces: list[Piece]
    at_s: list[float]  # when each piece came

    @property
    def texts(self) -> list[str]:
        return [piece.text for piece in self.pieces if piece.text]

    @property
    def failures(self) -> list[str]:
        return [piece.failure.kind for piece in self.pieces if piece.failure]

    @property
    def last(self) -> Piece:
        assert [piece.last for piece in self.pieces] == [*[False] * (len(self.pieces) - 1), True]
        return self.pieces[-1]


async def speak(*script: Step) -> Spoken:
    clock = asyncio.get_running_loop()
    pieces, at_s = [], []
    async for piece in segments(stream(*script)):
        pieces.append(piece)
        at_s.append(clock.time())
    return Spoken(pieces, at_s)


# --- time -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_model_that_reasons_is_waited_for() -> None:
    thinks: list[Step] = [Progress(), 1.0]
    said = await speak(*thinks * 15, "At nine.", Finish())
    assert (said.texts, said.failures) == (["At nine."], [])


@in_virtual_time
async def test_a_model_without_a_sign_of_life_is_not() -> None:
    said = await speak(Progress(), SILENT_S * 2, "At nine.", Finish())
    assert (said.texts, said.failures, said.last.kind) == ([APOLOGY], ["timeout"], "notice")
    assert said.at_s[-1] == pytest.approx(SILENT_S, abs=1)


@in_virtual_time
async def test_reasoning_has_an_end() -> None:
    thinks: list[Step] = [Progress(), 1.0]
    said = await speak(*thinks * 600)
    assert (said.texts, said.failures) == ([APOLOGY], ["timeout"])
    assert said.at_s[-1] == pytest.approx(FIRST_WORDS_S, abs=2)


@in_virtual_time
async def test_words_of_a_slow_model_do_not_wait_for_the_end_of_the_sentence() -> None:
    words = "We are open from nine in the morning until five in the afternoon on weekdays".split()
    said = await speak(*[step for word in words for step in (f"{word} ", 2.0)], Finish())
    assert said.at_s[0] <= FRAGMENT_S + 2
    assert max(later - before for before, later in zip(said.at_s, said.at_s[1:], strict=False)) <= FRAGMENT_S + 2
    assert " ".join(said.texts).split() == words


@in_virtual_time
async def test_no_word_is_cut_in_two_because_it_came_slowly() -> None:
    said = await speak("We op", 2.0, "en at ni", 2.0, "ne", 2.0, " on Mon", 2.0, "days.", Finish())
    assert " ".join(said.texts) == "We open at nine on Mondays."
    assert not {"op", "ni", "Mon"} & set(" ".join(said.texts).split())


@in_virtual_time
async def test_a_fast_model_is_spoken_in_sentences() -> None:
    said = await speak(*[step for word in ["We ", "open ", "at nine ", "each day."] for step in (word, 0.5)], Finish())
    assert said.texts == ["We open at nine each day."]


@in_virtual_time
async def test_a_throttled_model_fails_at_once_and_for_that_reason() -> None:
    said = await speak(ProviderError("quota", "HTTP 429, retry after 20 s", retryable=True, retry_after_s=20))
    assert (said.texts, said.failures, said.at_s[-1]) == ([APOLOGY], ["quota"], 0)


# --- length ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("We open at nine. And we close at fi", ["We open at nine."]),
        ("We open at nine. We close at five on Monday, and at fi", ["We open at nine.", "We close at five on Monday"]),
        ("And we close at fi", ["And we close at"]),
        ("And we close at five, as alwa", ["And we close at five,"]),
        ("We open at nine. We close at five.", ["We open at nine.", "We close at five."]),
        ("We open at 9", ["We open at"]),
    ],
)  # fmt: skip
async def test_a_reply_at_its_limit_ends_with_a_whole_clause(text: str, spoken: list[str]) -> None:
    said = await speak(text, Finish("length"))
    assert said.texts == spoken
    assert said.last.truncated
    assert said.failures == []


async def test_nothing_left_of_a_reply_at_its_limit_is_an_empty_reply() -> None:
    said = await speak("Fi", Finish("length"))
    assert (said.texts, said.failures) == ([APOLOGY], ["server"])


async def test_a_reply_without_an_end_is_truncated_at_a_word() -> None:
    said = await speak(*["again and "] * MAX_REPLY)
    assert said.last.truncated
    assert len(" ".join(said.texts)) <= MAX_REPLY
    assert set(" ".join(said.texts).split()) == {"again", "and"}


async def test_a_whole_reply_is_not_truncated() -> None:
    assert not (await speak("At nine", Finish())).last.truncated


async def test_a_reply_that_broke_off_is_truncated() -> None:
    said = await speak("We open. At n", ProviderError("connection", "gone"))
    assert (said.texts, said.failures, said.last.truncated) == (["We open."], ["connection"], True)


# --- tokens and tools -----------------------------------------------------------------------------------------------


async def test_the_last_piece_says_what_the_reply_cost() -> None:
    assert (await speak("At nine.", Usage(9, 4, 3), Finish())).last.usage == Usage(9, 4, 3)
    assert (await speak(Usage(9, 4, 0), Finish())).last.usage == Usage(9, 4, 0)  # of an apology, too


async def test_a_tool_call_that_was_not_offered_is_one_failure_beside_the_text() -> None:
    call = ToolCall("", "book", "{}")
    said = await speak("One moment. ", call, call, Finish("tool_calls"))
    assert (said.texts, said.failures) == (["One moment."], ["bad_request"])


async def test_a_tool_call_in_place_of_a_reply_is_one_failure_and_a_notice() -> None:
    said = await speak(ToolCall("", "book", "{}"), Finish("tool_calls"))
    assert (said.texts, said.failures, said.last.kind) == ([APOLOGY], ["bad_request"], "notice")


# --- a request that is too long -------------------------------------------------------------------------------------


class Forgetful:
    """A model that reads no more than `most` messages of history."""

    model = "forgetful"

    def __init__(self, most: int) -> None:
        self.most = most
        self.read: list[int] = []

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        self.read.append(len(request.history))
        if len(request.history) > self.most:
            raise ContextTooLong("HTTP 400 (context_length_exceeded)")
        yield TextDelta(request.history[-1].content if request.history else "")
        yield Finish()


@pytest.mark.parametrize(
    ("messages", "most", "read", "ends"), [(8, 4, [8, 4], "7"), (7, 3, [7, 3], "6"), (3, 9, [3], "2")]
)
async def test_the_oldest_messages_go_and_the_model_is_asked_once_more(
    messages: int, most: int, read: list[int], ends: str
) -> None:
    model = Forgetful(most)
    history = tuple(ChatMessage("user", str(number)) for number in range(messages))
    items = [item async for item in ask(model, ReplyRequest("s1", "", "Hello?", history))]
    assert items == [TextDelta(ends), Finish()]
    assert model.read == read


@pytest.mark.parametrize(("messages", "read"), [(20, [20, 10]), (0, [0])])
async def test_it_is_asked_no_third_time(messages: int, read: list[int]) -> None:
    model = Forgetful(-1)
    history = tuple(ChatMessage("user", str(number)) for number in range(messages))
    with pytest.raises(ContextTooLong):
        async for _ in ask(model, ReplyRequest("s1", "", "Hello?", history)):
            pass
    assert model.read == read
