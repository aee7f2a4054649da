"""The audio of one turn is cut into frames of 20 ms."""

from schemas.audio import AGENT_FRAME_BYTES, SAMPLE_BYTES
from schemas.media import Flag
from session.recoverable import Playing
from stages.egress.reply import Reply

SAMPLES = AGENT_FRAME_BYTES // SAMPLE_BYTES
FRAME = bytes(range(1, 241)) * (AGENT_FRAME_BYTES // 240)


def test_chunks_of_any_length_become_whole_frames_in_order() -> None:
    reply = Reply(turn=2)
    pcm = FRAME * 3
    for start in range(0, len(pcm), 700):
        reply.add(pcm[start : start + 700], segment=1, flags=0)
    assert b"".join(piece.pcm for piece in reply.waiting) == pcm
    assert {(piece.turn, piece.segment, piece.samples) for piece in reply.waiting} == {
        (2, 1, AGENT_FRAME_BYTES // SAMPLE_BYTES)
    }
    assert not reply.complete


def test_the_end_of_a_segment_is_padded_and_its_speech_is_counted() -> None:
    reply = Reply(turn=1)
    reply.add(FRAME[:100], segment=1, flags=int(Flag.LAST_OF_SEGMENT))
    [piece] = reply.waiting
    assert piece.pcm == FRAME[:100].ljust(AGENT_FRAME_BYTES, b"\0")
    assert piece.samples == 100 // SAMPLE_BYTES


def test_a_new_segment_pads_the_one_before_it() -> None:
    reply = Reply(turn=1)
    reply.add(FRAME[:100], segment=1, flags=int(Flag.FIRST_OF_SEGMENT))
    reply.add(FRAME, segment=2, flags=int(Flag.FIRST_OF_SEGMENT | Flag.LAST_OF_TURN))
    first = [(piece.segment, bool(piece.flags & Flag.FIRST_OF_SEGMENT)) for piece in reply.waiting]
    assert first == [(1, True), (2, True)]
    assert reply.complete


def test_a_new_owner_of_tts_begins_the_sentence_anew_that_the_old_one_did_not_finish() -> None:
    reply = Reply(turn=2)
    reply.add(FRAME * 2, segment=0, flags=int(Flag.LAST_OF_SEGMENT), at=0)
    reply.add(FRAME * 2, segment=1, flags=0, at=2 * SAMPLES)
    reply.begin_anew()
    assert [piece.segment for piece in reply.waiting] == [0, 0]
    reply.add(FRAME * 2, segment=0, flags=int(Flag.LAST_OF_SEGMENT), at=0)
    reply.add(FRAME * 3, segment=1, flags=int(Flag.LAST_OF_TURN), at=2 * SAMPLES)
    assert [(piece.segment, piece.until // SAMPLES) for piece in reply.waiting] == [
        (0, 1),
        (0, 2),
        (1, 3),
        (1, 4),
        (1, 5),
    ]
    assert reply.complete


def test_the_position_is_that_of_the_audio() -> None:
    reply = Reply.resume(Playing(turn=2, segment=1, heard_ms=900, sounded=True))
    reply.add(FRAME, segment=1, flags=0, at=45 * SAMPLES)
    assert [piece.until for piece in reply.waiting] == [46 * SAMPLES]
