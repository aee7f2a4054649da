"""One chunk of audio on the bus: a fixed 28-byte prefix, then PCM16 little-endian mono.

    offset  type  field
    0       u8    version      1
    1       u8    flags        see Flag
    2       u16   segment      numbered by llm within a turn
    4       u32   epoch        at which the speaker was claimed
    8       u32   turn         0 on the caller's line
    12      u32   seq          dense from 0 per (speaker, epoch), counted apart from events
    16      u32   rate         samples a second
    20      u64   at           a position in samples, see below

`at` of the caller's audio is its first sample, counted from the beginning of the session. Agent audio counts from the
beginning of the turn: from tts, `at` is the first sample; from egress, the first sample behind the frame, which the
caller has heard once the frame has been played.

All integers are little-endian. The end of a segment is a flag on its last chunk, not an event: events travel apart
from media and would overtake it. A chunk may carry no samples, only flags.
"""

import enum
import struct

import msgspec

from schemas.audio import SAMPLE_BYTES

VERSION = 1
MAX_CHUNK_MS = 100  # so that a cancel never waits behind more than this, and a message stays far below 64 KB
MAX_RATE = 48_000
MAX_PCM_BYTES = MAX_RATE * MAX_CHUNK_MS // 1000 * SAMPLE_BYTES

_PREFIX = struct.Struct("<BBHIIIIQ")
PREFIX_BYTES = _PREFIX.size


class Flag(enum.IntFlag):
    """What a chunk says beside its samples."""

    NONE = 0
    FIRST_OF_SEGMENT = 1
    LAST_OF_SEGMENT = 2
    LAST_OF_TURN = 4
    DISCONTINUITY = 8  # what was sent before and is not yet played is void: the player clears its buffer


class BadFrame(ValueError):
    """Bytes that are not a frame of this protocol; the message says which field is wrong."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A chunk of one line's audio.

    pcm: PCM16 little-endian mono at `rate` samples a second, at most MAX_CHUNK_MS.
    at: a position in samples at `rate`, as the module describes.
    """

    pcm: bytes
    epoch: int
    seq: int
    rate: int
    at: int = 0
    turn: int = 0
    segment: int = 0
    flags: int = 0

    @property
    def samples(self) -> int:
        return len(self.pcm) // SAMPLE_BYTES

    @property
    def duration_ms(self) -> float:
        return self.samples * 1000 / self.rate


def encode(frame: Frame) -> bytes:
    """The bytes of one media message."""
    prefix = _PREFIX.pack(VERSION, frame.flags, frame.segment, frame.epoch, frame.turn, frame.seq, frame.rate, frame.at)
    return prefix + frame.pcm


def decode(data: bytes) -> Frame:
    """A Frame from the bytes of one media message; raises BadFrame."""
    size = len(data) - PREFIX_BYTES
    if size < 0:
        raise BadFrame(f"{len(data)} bytes are less than the prefix of {PREFIX_BYTES}")
    version, flags, segment, epoch, turn, seq, rate, at = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise BadFrame(f"version {version}, this side speaks {VERSION}")
    if size % SAMPLE_BYTES:
        raise BadFrame(f"{size} bytes of audio are not whole 16-bit samples")
    if not 0 < rate <= MAX_RATE:
        raise BadFrame(f"rate {rate} is not within 1 to {MAX_RATE}")
    if size > rate * MAX_CHUNK_MS // 1000 * SAMPLE_BYTES:
        raise BadFrame(f"{size} bytes at {rate} Hz are more than {MAX_CHUNK_MS} ms")
    return Frame(data[PREFIX_BYTES:], epoch, seq, rate, at, turn, segment, flags)
