"""Frames: what goes in comes out, and no bytes whatever do more harm than BadFrame."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import audio, media
from schemas.media import BadFrame, Frame

U16, U32, U64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
PREFIX = "<BBHIIIIQ"


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    rate = draw(st.integers(1, media.MAX_RATE))
    samples = draw(st.integers(0, min(rate * media.MAX_CHUNK_MS // 1000, 400)))
    pcm = draw(st.binary(min_size=samples * 2, max_size=samples * 2))
    return Frame(pcm, draw(U32), draw(U32), rate, draw(U64), draw(U32), draw(U16), draw(st.integers(0, 15)))


def prefix(version: int = media.VERSION, rate: int = audio.CALLER_HZ) -> bytes:
    return struct.pack(PREFIX, version, 0, 0, 1, 0, 0, rate, 0)


@given(frames())
def test_a_frame_comes_back_as_it_was_sent(frame: Frame) -> None:
    assert media.decode(media.encode(frame)) == frame


@given(st.binary(max_size=200))
def test_noise_is_a_frame_or_a_bad_frame(noise: bytes) -> None:
    try:
        frame = media.decode(noise)
    except BadFrame:
        return
    assert media.encode(frame) == noise


@given(frames(), st.data())
def test_a_frame_torn_within_its_prefix_is_refused(frame: Frame, data: st.DataObject) -> None:
    torn = media.encode(frame)[: data.draw(st.integers(0, media.PREFIX_BYTES - 1))]
    with pytest.raises(BadFrame, match="prefix"):
        media.decode(torn)


def test_the_longest_chunk_is_accepted_and_one_sample_more_is_not() -> None:
    longest = bytes(audio.CALLER_HZ * media.MAX_CHUNK_MS // 1000 * 2)
    assert media.decode(prefix() + longest).duration_ms == media.MAX_CHUNK_MS
    with pytest.raises(BadFrame, match="more than 100 ms"):
        media.decode(prefix() + longest + b"\0\0")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "prefix", id="nothing"),
        pytest.param(b"\x01", "prefix", id="one byte"),
        pytest.param(prefix()[:-1], "prefix", id="one byte short of a prefix"),
        pytest.param(prefix() + b"\0", "whole", id="half a sample"),
        pytest.param(prefix() + bytes(1_000_000), "more than", id="a megabyte"),
        pytest.param(prefix(version=0), "version 0", id="version 0"),
        pytest.param(prefix(version=2), "version 2", id="a later version"),
        pytest.param(prefix(rate=0), "rate 0", id="no rate"),
        pytest.param(prefix(rate=media.MAX_RATE + 1), "rate", id="a rate above the highest"),
        pytest.param(prefix(rate=2**32 - 1), "rate", id="an absurd rate"),
        pytest.param(b"hello, this is text and no audio at all", "version", id="text"),
    ],
)
def test_a_bad_frame_is_refused_and_says_why(data: bytes, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        media.decode(data)


def test_the_prefix_is_28_bytes_and_a_chunk_stays_far_below_64_kilobytes() -> None:
    assert media.PREFIX_BYTES == struct.calcsize(PREFIX) == 28
    assert media.PREFIX_BYTES + media.MAX_PCM_BYTES < 64 * 1024 / 4


def test_a_frame_may_carry_flags_and_no_samples() -> None:
    end = Frame(b"", epoch=1, seq=0, rate=audio.AGENT_HZ, flags=media.Flag.LAST_OF_SEGMENT | media.Flag.LAST_OF_TURN)
    assert media.decode(media.encode(end)) == end
    assert end.samples == 0
    assert end.duration_ms == 0
