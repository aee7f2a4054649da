"""Decodes pre-connect audio (`preconnect.py`) into samples.

A module of its own, because it loads a library of codecs: a worker spends that memory only after the first recording.
"""

import asyncio
import io
from collections.abc import Mapping

import av
import numpy as np
from livekit import rtc

from schemas.audio import CALLER_HZ, SAMPLE_BYTES

MAX_S = 10  # what the clients record at most
MAX_BYTES = MAX_S * 48_000 * 2 * SAMPLE_BYTES  # of the largest form, samples of two channels
COLLECT_S = 0.7  # a browser records until its track has a subscriber, and LiveKit never reports a hidden one
CONTAINERS = {"audio/webm": "webm", "video/webm": "webm", "audio/mp4": "mp4", "video/mp4": "mp4", "audio/ogg": "ogg"}
SAMPLES = frozenset({"", "audio/pcm", "application/octet-stream"})
CHANNELS = {1: "mono", 2: "stereo"}
RATES = range(8_000, 192_001)


class BadRecording(ValueError):
    """Raised for a recording that cannot be decoded; the text gives the cause."""


async def read(reader: rtc.ByteStreamReader) -> bytes:
    """Return what arrives within COLLECT_S, at most MAX_S of audio, as PCM16 mono at 16 kHz. Raises BadRecording."""
    data = bytearray()
    try:
        async with asyncio.timeout(COLLECT_S):
            async for chunk in reader:
                data += chunk
                if len(data) > MAX_BYTES:
                    raise BadRecording(f"it is above {MAX_BYTES} bytes")
    except TimeoutError:
        pass
    except rtc.StreamError as broken:
        raise BadRecording("the stream was aborted") from broken
    finally:
        reader.close()
    return await asyncio.to_thread(decode, bytes(data), reader.info.mime_type, reader.info.attributes or {})


def decode(data: bytes, mime: str, attributes: Mapping[str, str]) -> bytes:
    """Return a recording as PCM16 mono at 16 kHz, at most MAX_S. Raises BadRecording.

    mime: of a container that browsers record, whose end may be missing. For any other type `data` is 16-bit samples,
    with `sampleRate` and `channels` in the attributes.
    """
    kind = mime.partition(";")[0].strip().lower()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=CALLER_HZ)
    pcm = bytearray()
    try:
        if kind in CONTAINERS:
            with av.open(io.BytesIO(data), mode="r", format=CONTAINERS[kind]) as container:
                for frame in container.decode(audio=0):
                    pcm += _samples(resampler, frame)
                    if len(pcm) > MAX_S * CALLER_HZ * SAMPLE_BYTES:
                        break
        elif kind in SAMPLES:
            pcm += _samples(resampler, _frame(data, attributes))
        else:
            raise BadRecording(f"{kind[:40]!r} is none of {', '.join(sorted(CONTAINERS))}, audio/pcm")
        pcm += _samples(resampler, None)
    except (av.FFmpegError, IndexError, UnicodeDecodeError) as error:  # the end of an unfinished container is missing
        if not pcm:
            raise BadRecording(f"it cannot be read as {kind}: {type(error).__name__}") from None
    return bytes(pcm[: MAX_S * CALLER_HZ * SAMPLE_BYTES])


def _frame(data: bytes, attributes: Mapping[str, str]) -> av.AudioFrame:
    try:
        rate, channels = int(attributes["sampleRate"]), int(attributes["channels"])
    except (KeyError, ValueError):
        raise BadRecording("its sampleRate and channels are not given") from None
    layout = CHANNELS.get(channels)
    if layout is None or rate not in RATES:
        raise BadRecording(f"{rate} Hz of {channels} channels are not read")
    whole = len(data) - len(data) % (channels * SAMPLE_BYTES)
    if not whole:
        raise BadRecording("it is empty")
    frame = av.AudioFrame.from_ndarray(np.frombuffer(data[:whole], "<i2").reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


def _samples(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> bytes:
    return b"".join(made.to_ndarray().astype("<i2").tobytes() for made in resampler.resample(frame))
