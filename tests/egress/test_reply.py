"""The audio of one turn is cut into frames of 20 ms."""

from schemas.audio import AGENT_FRAME_BYTES, SAMPLE_BYTES
from schemas.media import Flag
from stages.egress.reply import Reply

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
