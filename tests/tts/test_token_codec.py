"""Text as tones: what was heard can be read back, and nothing else can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.audio import AGENT_FRAME_BYTES, AGENT_HZ
from stages.tts import token_codec

said = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
silence = st.integers(0, 3_000).map(lambda samples: bytes(2 * samples))
hole = st.integers(60, 3_000).map(lambda samples: bytes(2 * samples))  # 2.5 ms and more


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[start : start + AGENT_FRAME_BYTES] for start in range(0, len(pcm), AGENT_FRAME_BYTES)]


@given(said, silence, silence)
def test_what_was_said_is_read_back_wherever_the_recording_begins(text: str, before: bytes, after: bytes) -> None:
    assert token_codec.texts(before + token_codec.encode(text) + after) == [text]


@given(said, st.data())
def test_holes_between_frames_lose_nothing(text: str, data: st.DataObject) -> None:
    heard = b"".join(frame + data.draw(st.just(b"") | hole) for frame in frames(token_codec.encode(text)))
    assert token_codec.decode(heard) == text


@given(said, st.data())
def test_what_was_cut_off_leaves_the_beginning(text: str, data: st.DataObject) -> None:
    whole = frames(token_codec.encode(text))
    cut = data.draw(st.integers(0, len(whole)))
    heard = token_codec.decode_frames(whole[:cut])
    assert text.startswith(heard)
    assert len(heard.encode()) >= (cut - 1) // 2 - 3  # at most one character of four bytes is missing


@given(said.filter(bool), said, st.data())
def test_a_frame_of_another_call_never_goes_unnoticed(mine: str, theirs: str, data: st.DataObject) -> None:
    own, other = frames(token_codec.encode(mine)), frames(token_codec.encode(theirs))
    place, stray = data.draw(st.integers(0, len(own) - 1)), data.draw(st.sampled_from(other))
    crossed = token_codec.texts(b"".join([*own[:place], stray, *own[place + 1 :]]))
    assert (crossed == [mine]) == (stray == own[place])


@given(said, said)
def test_two_calls_never_decode_into_each_other(mine: str, theirs: str) -> None:
    assert (token_codec.decode(token_codec.encode(mine)) == token_codec.decode(token_codec.encode(theirs))) == (
        mine == theirs
    )


@given(st.text("abcdefgh ", min_size=1, max_size=30), st.data())
def test_a_frame_that_is_skipped_or_repeated_shows(text: str, data: st.DataObject) -> None:
    whole = frames(token_codec.encode(text))
    place = data.draw(st.integers(1, len(whole) - 1))
    assert token_codec.decode(b"".join(whole[:place] + whole[place:][1:])) != text
    assert token_codec.decode(b"".join(whole[:place] + whole[place - 1 :])) != text or place == 1


@given(st.lists(said, min_size=1, max_size=4))
def test_texts_without_a_pause_between_them_stay_apart(all_said: list[str]) -> None:
    assert token_codec.texts(b"".join(map(token_codec.encode, all_said))) == all_said


def test_every_frame_is_loud() -> None:
    samples = np.frombuffer(token_codec.encode("".join(map(chr, range(0x20, 0x250)))), "<i2").astype(float)
    levels = np.sqrt((samples.reshape(-1, AGENT_HZ // 50) ** 2).mean(axis=1))
    assert levels.min() > 5_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_recording_at_another_rate_is_read_too(rate: int) -> None:
    samples = np.frombuffer(token_codec.encode("We are open until six."), "<i2").astype(float)
    there = np.arange(len(samples) * rate // AGENT_HZ) * AGENT_HZ / rate
    recording = np.interp(there, np.arange(len(samples)), samples).astype("<i2").tobytes()
    assert token_codec.decode(recording, rate) == "We are open until six."


def test_a_hum_says_nothing_for_exactly_its_time() -> None:
    assert len(token_codec.hum(1_234)) == 2 * 1_234 * AGENT_HZ // 1000
    assert token_codec.decode(token_codec.hum(1_234)) == ""


def test_speech_is_about_as_fast_as_a_person() -> None:
    assert len(token_codec.encode("x" * 250)) / 2 / AGENT_HZ == pytest.approx(10, abs=0.1)
