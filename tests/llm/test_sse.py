"""Streams of server-sent events as the standard allows them."""

import pytest

from stages.llm.sse import MAX_EVENT, Corrupt, SseDecoder, TooLong

STREAMS = [
    (b"data: a\n\ndata: b\n\n", ["a", "b"]),
    (b"data:a\n\n", ["a"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    (b"data: a\r\rdata: b\r\r", ["a", "b"]),
    (b"retry: 3000\n\ndata: a\n\n", ["a"]),
    (b"id: 1\n: comment\n\ndata: a\n\n", ["a"]),
    (b": keep-alive\n\n: keep-alive\n\ndata: a\n\n", ["a"]),
    (b"event: message\nid: 7\nretry: 1\ndata: a\n\n", ["a"]),
    (b"data: a\ndata: b\n\n", ["a\nb"]),
    (b"data\n\n", [""]),
    (b"unknown: x\nno colon\n\ndata: a\n\n", ["a"]),
    (b"data: a\n\ndata: [DONE]", ["a", "[DONE]"]),
    (b"data: a\n\ndata: [DONE]\n", ["a", "[DONE]"]),
    (b"data: a\n\ndata: [DONE]\r", ["a", "[DONE]"]),
    ('data: {"x": "Zoë\u2028\x85ß"}\n\n'.encode(), ['{"x": "Zoë\u2028\x85ß"}']),
    (b"data: \xff\n\n", ["\ufffd"]),
    (b"", []),
    (b"\n\n\n", []),
]


@pytest.mark.parametrize(("stream", "data"), STREAMS)
@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_every_stream_however_the_network_cuts_it(stream: bytes, data: list[str], size: int) -> None:
    decoder = SseDecoder()
    found = [one for at in range(0, len(stream), size) for one in decoder.feed(stream[at : at + size])]
    assert [*found, *decoder.flush()] == data


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 1_000 + b"\n", b"x" * 1_000])
def test_a_stream_without_an_end_is_refused(piece: bytes) -> None:
    decoder = SseDecoder()
    for _ in range(MAX_EVENT // len(piece)):
        decoder.feed(piece)
    with pytest.raises(TooLong):
        decoder.feed(piece * 2)


@pytest.mark.parametrize("line", [b"\x00\xfegarbage\n", b"\xff{data: words\n"])
def test_bytes_that_are_no_field_are_not_dropped_in_silence(line: bytes) -> None:
    with pytest.raises(Corrupt):
        SseDecoder().feed(line)


def test_a_field_that_the_standard_does_not_know_is_dropped() -> None:
    assert SseDecoder().feed(b"x-trace: 1\ndata: a\n\n") == ["a"]
