"""What a caller may send: good input reaches the session, the rest is counted and the caller reads the limit."""

import time

import pytest

from schemas.events import CloseReason
from stages.ingress.caller_input import (
    AUDIO_AHEAD_S,
    AUDIO_TOO_FAST,
    BAD_DIGIT,
    BAD_TEXT,
    KEYS_TOO_FAST,
    MAX_FRAME_BYTES,
    MAX_TEXT,
    REFUSALS_AHEAD_S,
    CheckedInput,
    bad_frame,
)
from transports.transport import CALLER_AUDIO, AudioFormat


class Session:
    """Keeps what a coordinator would be given."""

    session = "s"

    def __init__(self) -> None:
        self.audio: list[bytes] = []
        self.texts: list[str] = []
        self.digits: list[str] = []
        self.earlier = 0
        self.ended: CloseReason | None = None
        self.counted: list[str] = []

    def receive_audio(self, pcm: bytes) -> None:
        self.audio.append(pcm)

    def receive_text(self, text: str) -> None:
        self.texts.append(text)

    def receive_digit(self, digit: str) -> None:
        self.digits.append(digit)

    def begin_earlier(self, samples: int) -> None:
        self.earlier += samples

    def hang_up(self, reason: CloseReason, detail: str = "") -> None:
        self.ended = reason

    def count(self, reason: str) -> None:
        self.counted.append(reason)


class Connection:
    """Keeps what the caller reads."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    async def ready(self) -> None: ...

    def play(self, pcm: bytes) -> None: ...

    def clear(self) -> None: ...

    def end(self, error: str = "") -> None: ...

    def refuse(self, message: str) -> None:
        self.refused.append(message)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def caller(session: Session, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> CheckedInput:
    """At a time that stands still."""
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    return CheckedInput(session, connection)


def test_good_input_reaches_the_session(session: Session, connection: Connection, caller: CheckedInput) -> None:
    for frame in (bytes(2), bytes(640), bytes(MAX_FRAME_BYTES)):
        caller.audio(frame)
    caller.text("  Hello\n there ")
    caller.text("x" * MAX_TEXT)
    caller.dtmf("#")
    caller.prepend_audio(bytes(MAX_FRAME_BYTES + 320))
    caller.hang_up("caller_lost")
    assert [len(frame) for frame in session.audio] == [2, 640, MAX_FRAME_BYTES, MAX_FRAME_BYTES, 320]
    assert session.texts == ["Hello there", "x" * MAX_TEXT]
    assert session.digits == ["#"]
    assert (session.earlier, session.ended) == (1_760, "caller_lost")
    assert (session.counted, connection.refused) == ([], [])


@pytest.mark.parametrize("frame", [b"", b"\x01", bytes(641), bytes(MAX_FRAME_BYTES + 2)])
def test_the_first_bad_frame_is_answered_with_the_limit(
    session: Session, connection: Connection, caller: CheckedInput, frame: bytes
) -> None:
    for _ in range(50):
        caller.audio(frame)
    assert session.audio == []
    assert session.counted == ["bad_caller_frame"] * 50
    assert connection.refused == [bad_frame(CALLER_AUDIO)]
    assert f"2 to {MAX_FRAME_BYTES} bytes" in connection.refused[0]


@pytest.mark.parametrize("frame", [bytes(2), bytes(3_842), bytes(19_204)])
def test_a_bad_frame_of_another_format_is_answered_with_the_limit_of_that_format(
    session: Session, connection: Connection, frame: bytes
) -> None:
    caller = CheckedInput(session, connection, AudioFormat(48_000, 2))
    caller.audio(frame)
    assert (session.audio, session.counted) == ([], ["bad_caller_frame"])
    assert "4 to 19200 bytes" in connection.refused[0]
    assert "stereo, 48000 Hz" in connection.refused[0]


def test_other_formats_are_converted_and_paced_by_their_duration(session: Session, connection: Connection) -> None:
    for audio in (AudioFormat(48_000, 2), AudioFormat(8_000), AudioFormat(44_100)):
        session.audio.clear()
        caller = CheckedInput(session, connection, audio)
        for _ in range(100):
            caller.audio(bytes(audio.bytes_in(100)))
        received_s = sum(map(len, session.audio)) / CALLER_AUDIO.bytes_in(1000)
        assert 9.8 < received_s <= 10
        assert max(map(len, session.audio)) <= MAX_FRAME_BYTES
        assert not any(len(frame) % 2 for frame in session.audio)
    assert (session.counted, connection.refused) == ([], [])


def test_audio_far_ahead_of_real_time_is_refused_and_answered_once(
    session: Session, connection: Connection, caller: CheckedInput
) -> None:
    for _ in range(round(AUDIO_AHEAD_S * 10) + 5):
        caller.audio(bytes(MAX_FRAME_BYTES))
    assert len(session.audio) == AUDIO_AHEAD_S * 10
    assert session.counted == ["caller_too_fast"] * 5
    assert connection.refused == [AUDIO_TOO_FAST]


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (MAX_TEXT + 1), "bell\x07"])
def test_a_bad_text_is_answered(session: Session, connection: Connection, caller: CheckedInput, text: str) -> None:
    caller.text(text)
    assert (session.texts, session.counted) == ([], ["bad_text"])
    assert connection.refused == [BAD_TEXT]


def test_a_bad_key_is_answered(session: Session, connection: Connection, caller: CheckedInput) -> None:
    caller.dtmf("E")
    assert (session.digits, session.counted) == ([], ["bad_digit"])
    assert connection.refused == [BAD_DIGIT]


def test_a_flood_of_keys_is_bounded_and_so_are_its_answers(
    session: Session, connection: Connection, caller: CheckedInput
) -> None:
    for _ in range(1_000):
        caller.dtmf("0")
    taken = len(session.digits)
    assert taken in (29, 30), "three seconds of them"
    assert session.counted == ["keys_too_fast"] * (1_000 - taken)
    assert connection.refused == [KEYS_TOO_FAST] * round(REFUSALS_AHEAD_S)
