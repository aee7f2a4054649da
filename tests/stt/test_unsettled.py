"""The audio and the speech that another recognizer would need, and finals that overlap."""

import pytest

from schemas.audio import CALLER_HZ
from schemas.events.envelope import Word
from stages.stt.contract import HeardFinal
from stages.stt.unsettled import OVER, PREFIX, Spoken, Unsettled
from stages.stt.voice_activity import Offset, Onset

SECOND = bytes(2 * CALLER_HZ)


def spoken_until(end: int) -> Unsettled:
    """Audio of 10 s with speech from 5 s to sample `end`."""
    one = Unsettled()
    for second in range(10):
        one.audio.append(SECOND, second * CALLER_HZ)
    one.fed = one.audio.end
    one.speech = [Spoken(5 * CALLER_HZ, Onset(5 * CALLER_HZ)), Spoken(end, Offset(end, 0, end))]
    return one


def test_another_recognizer_needs_the_speech_without_a_final_and_a_little_before() -> None:
    one = spoken_until(9 * CALLER_HZ)
    assert one.begin == 5 * CALLER_HZ - PREFIX
    one.settle(HeardFinal("half of it", 5 * CALLER_HZ, 7 * CALLER_HZ))
    assert one.begin == one.audio.start == 7 * CALLER_HZ
    assert [spoken.heard.at for spoken in one.missed()] == [7 * CALLER_HZ, 9 * CALLER_HZ]


def test_words_shortly_before_the_offset_may_still_come() -> None:
    """A word lasts less than the difference that VAD and a recognizer may have about the end of speech."""
    end = 9 * CALLER_HZ + CALLER_HZ // 2
    one = spoken_until(end)
    one.settle(HeardFinal("all but a word", 5 * CALLER_HZ, end - CALLER_HZ // 5))
    assert one.speech
    one.audio.append(SECOND, 10 * CALLER_HZ)
    one.audio.append(SECOND, 10 * CALLER_HZ + OVER - CALLER_HZ)
    one.fed = one.audio.end
    one.forget()
    assert not one.speech


@pytest.mark.parametrize(
    ("text", "words", "left"),
    [
        ("dogs and cats", (), "and cats"),
        ("Cats, dogs and birds", (), "and birds"),
        ("something else", (), "something else"),
        ("cats dogs", (), ""),
        ("dogs too", (Word("dogs", 0, 900), Word("too", 1_000, 1_200)), "too"),
    ],
)
def test_words_that_are_known_are_trimmed(text: str, words: tuple[Word, ...], left: str) -> None:
    one = spoken_until(9 * CALLER_HZ)
    one.settle(HeardFinal("Cats, dogs", 5 * CALLER_HZ, 7 * CALLER_HZ))
    trimmed = one.settle(HeardFinal(text, 6 * CALLER_HZ, 8 * CALLER_HZ, words))
    assert trimmed is not None
    assert (trimmed.text, trimmed.start_sample) == (left, 7 * CALLER_HZ)


def test_a_final_of_settled_audio_is_dropped() -> None:
    one = spoken_until(9 * CALLER_HZ)
    one.settle(HeardFinal("Cats, dogs", 5 * CALLER_HZ, 7 * CALLER_HZ))
    assert one.settle(HeardFinal("dogs", 6 * CALLER_HZ, 7 * CALLER_HZ)) is None
