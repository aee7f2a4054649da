"""Chunks as servers send them, odd ones too."""

import json
from typing import Any

import pytest

from schemas.events.llm import Usage
from stages.llm.chat_chunks import MOST_CALLS, ChatChunks
from stages.llm.contract import Finish, Progress, ReplyItem, TextDelta, ToolCall
from stages.runtime.providers import ProviderError


def chunk(delta: Any = None, finish: Any = None, **fields: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields})


STOP = chunk({}, "stop")
HELLO = chunk({"content": "Hello."})


def read(*data: str) -> list[ReplyItem]:
    chunks = ChatChunks()
    return [*(item for one in data for item in chunks.feed(one)), *chunks.end()]


def text(*data: str) -> str:
    return "".join(item.text for item in read(*data) if isinstance(item, TextDelta))


@pytest.mark.parametrize(
    "odd",
    [
        chunk(None),
        chunk({}),
        chunk({"content": None}),
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": 5}),
        chunk({"content": {"text": "x"}}),
        chunk({"content": [5, None, {"type": "image", "url": "x"}]}),
        chunk("text"),
        chunk({"tool_calls": None}),
        chunk({"reasoning_content": "Let me see"}),
        chunk({"content": "x"}).replace('"index": 0', '"index": 1'),
        '{"choices": null}',
        '{"choices": []}',
        '{"choices": {}}',
        '{"choices": [null]}',
        '{"choices": [{}]}',
        '{"usage": 5, "choices": []}',
        '{"usage": {"prompt_tokens": "many"}}',
        "{}",
        "[]",
        "null",
        "5",
        '""',
        "",
        "{",
        '{"choices": [{"del',
        "[" * 5_000,
        '{"ping": true}',
        '{"error": null}',
    ],
)
def test_an_odd_chunk_takes_nothing_from_the_reply(odd: str) -> None:
    assert text(odd, HELLO, odd, STOP, odd) == "Hello."


def test_what_could_not_be_read_is_counted() -> None:
    chunks = ChatChunks()
    for data in ("{", chunk("text"), HELLO):
        chunks.feed(data)
    assert chunks.skipped == 2


@pytest.mark.parametrize(
    ("content", "spoken"),
    [
        ([{"type": "text", "text": "We "}, {"type": "text", "text": "open."}], "We open."),
        ([{"text": "We open."}], "We open."),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Yes."}],
            "Yes.",
        ),
        ([{"type": "reasoning", "text": "hm"}], ""),
    ],
)
def test_content_as_a_list_of_parts(content: Any, spoken: str) -> None:
    assert text(chunk({"content": content}), STOP) == spoken


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_sign_of_life_and_no_text(name: str) -> None:
    assert read(chunk({name: "Let me see"}), HELLO, STOP) == [Progress(), TextDelta("Hello."), Finish("stop")]


def test_reasoning_in_the_text_is_a_sign_of_life_and_no_text() -> None:
    pieces = [chunk({"content": piece}) for piece in ("<th", "ink>Let me", " see</thi", "nk>Hel", "lo.")]
    assert read(*pieces, STOP) == [Progress()] * 3 + [TextDelta("Hel"), TextDelta("lo."), Finish("stop")]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
    ],
)
def test_why_it_ended(sent: str, reason: str) -> None:
    assert read(HELLO, chunk({}, sent))[-1] == Finish(reason)  # type: ignore[arg-type]


def test_the_last_text_may_come_with_the_reason_or_with_a_null_delta() -> None:
    assert read(chunk({"content": "Hello."}, "length")) == [TextDelta("Hello."), Finish("length")]
    assert read(HELLO, chunk(None, "length")) == [TextDelta("Hello."), Finish("length")]


def test_done_without_a_reason_is_an_end() -> None:
    assert read(HELLO, "[DONE]") == [TextDelta("Hello."), Finish("stop")]


@pytest.mark.parametrize("data", [(), (HELLO,), ("[DONE]",), (chunk({"role": "assistant"}), "[DONE]")])
def test_a_stream_that_breaks_off_is_an_error(data: tuple[str, ...]) -> None:
    with pytest.raises(ProviderError, match="ended before the reply") as caught:
        read(*data)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


def test_a_stream_that_cannot_be_read_is_an_error_of_the_server() -> None:
    with pytest.raises(ProviderError, match="2 chunks of the reply cannot be read") as caught:
        read("{", "{", "[DONE]")
    assert (caught.value.kind, caught.value.retryable) == ("server", True)


def test_an_answer_without_streaming_is_read_as_well() -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}
    assert text(json.dumps(whole)) == "Hello."


def test_an_error_in_the_stream_is_told_by_its_code_alone() -> None:
    with pytest.raises(ProviderError, match=r"^the server reported an error \(overloaded\)$"):
        read(HELLO, '{"error": {"message": "CANARY", "code": "overloaded"}}')
    with pytest.raises(ProviderError, match=r"^the server reported an error$"):
        read('{"error": "CANARY"}')


def test_tool_calls_come_in_parts() -> None:
    parts = [
        {"index": 0, "id": "c1", "function": {"name": "book", "arguments": ""}},
        {"index": 1, "id": "c2", "function": {"name": "ask", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '{"day": '}},
        {"index": 0, "function": {"arguments": '"Sunday"}'}},
    ]
    items = read(HELLO, *(chunk({"tool_calls": [part]}) for part in parts), chunk({}, "tool_calls"))
    assert [item for item in items if isinstance(item, ToolCall)] == [
        ToolCall("c1", "book", '{"day": "Sunday"}'),
        ToolCall("c2", "ask", "{}"),
    ]
    assert items[-1] == Finish("tool_calls")


def test_a_tool_call_in_the_text_is_one_all_the_same() -> None:
    items = read(chunk({"content": '{"name": "book", "arguments": {}}'}), STOP)
    assert [item for item in items if not isinstance(item, Progress)] == [ToolCall("", "book", "{}"), Finish("stop")]


def test_the_number_of_tool_calls_is_bounded() -> None:
    many = [chunk({"tool_calls": [{"function": {"name": f"t{number}", "arguments": "{}"}}]}) for number in range(99)]
    assert sum(isinstance(item, ToolCall) for item in read(*many, STOP)) == MOST_CALLS


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}},
        {"usage": None, "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details":
            {"cached_tokens": 4}}}},
    ],
)  # fmt: skip
def test_tokens_are_counted(fields: dict[str, Any]) -> None:
    assert read(HELLO, STOP, json.dumps({"choices": [], **fields}))[-2:] == [Usage(9, 4, 3), Finish("stop")]
