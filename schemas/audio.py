"""The two lines of a call. All audio on the bus is mono PCM, 16-bit signed little-endian."""

CALLER_HZ = 16_000  # what the caller says: every recogniser takes it, and it is half of 32 kHz speech bandwidth
AGENT_HZ = 24_000  # what the agent says: the native rate of most synthesizers
FRAME_MS = 20  # one frame of a line, the field's standard packet
SAMPLE_BYTES = 2

CALLER_FRAME_BYTES = CALLER_HZ * FRAME_MS // 1000 * SAMPLE_BYTES
AGENT_FRAME_BYTES = AGENT_HZ * FRAME_MS // 1000 * SAMPLE_BYTES


def samples_to_ms(samples: int, hz: int) -> int:
    """Whole milliseconds of `samples` at `hz` samples a second, rounded down."""
    return samples * 1000 // hz


def ms_to_bytes(ms: float, hz: int) -> int:
    """Bytes of PCM16 mono that last `ms` milliseconds at `hz`, always whole samples."""
    return int(ms * hz / 1000) * SAMPLE_BYTES
