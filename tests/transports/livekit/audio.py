"""Audio of a caller for tests, as samples and as a browser records it."""

import io
from collections.abc import Iterable

import av
import numpy as np

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

WEBM = "audio/webm;codecs=opus"


def seconds(amount: float) -> int:
    return int(amount * CALLER_HZ)


def noise(amount_s: float, seed: int = 1) -> bytes:
    """Sound of which no part is like another; the scripted recogniser takes it for speech."""
    return bytes((np.random.default_rng(seed).normal(0, 3_000, seconds(amount_s))).astype("<i2"))


def silent(amount_s: float) -> bytes:
    return bytes(SAMPLE_BYTES * seconds(amount_s))


def opus(pcm: bytes, container: str = "webm") -> bytes:
    """As a browser records it."""
    made = io.BytesIO()
    with av.open(made, "w", format=container) as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = CALLER_HZ
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return made.getvalue()


def frames(pcm: bytes) -> Iterable[bytes]:
    """Frames of 20 ms."""
    return (pcm[start : start + 640] for start in range(0, len(pcm), 640))
