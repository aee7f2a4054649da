"""Headers travel as one block, are read only when asked for, and cannot begin another header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.message import Message, format_headers, parse_headers

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-ABC0189", min_size=1, max_size=20)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x85\xa0"), max_size=60)


@given(st.dictionaries(TOKEN, VALUE, min_size=1, max_size=5))
def test_headers_are_read_as_they_were_written(headers: dict[str, str]) -> None:
    assert Message("story", b"", "", format_headers(headers)).headers == headers


@given(st.binary(max_size=200))
def test_a_block_of_random_bytes_is_read_without_an_error(block: bytes) -> None:
    parse_headers(block)


@pytest.mark.parametrize("block", [b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n"])
def test_a_block_without_a_header_has_none(block: bytes) -> None:
    assert Message("story", b"", "", block).headers is None


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a": "b\n"}, {"a\r": "b"}])
def test_a_line_break_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot send a header: it contains a line break"):
        format_headers(headers)
