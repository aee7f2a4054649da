"""Real speech at 48 kHz stereo and at 8 kHz, over the websocket: ingress converts it, and it is understood."""

import asyncio

import pytest
import soundfile
import soxr
from aiohttp import ClientSession

from antiphon_testing.agents import listening_agent
from antiphon_testing.simulated_caller import ProcessPlatform, open_process_platform
from antiphon_testing.speech import BECKETT, path
from antiphon_testing.wer import word_error_rate, words
from bus.session_client import SessionClient
from schemas.events import TranscriptFinal
from transports.transport import AudioFormat

pytestmark = [pytest.mark.local, pytest.mark.realtime]

SILENCE_S = 2  # long enough for the end of the last word
MESSAGE_MS = 100
WITHIN_S = 40.0


async def test_a_human_reader_is_understood_in_every_format() -> None:
    formats = AudioFormat(48_000, 2), AudioFormat(8_000)
    async with open_process_platform(listening_agent("listening", "Yes.")) as platform:
        texts = await asyncio.gather(*(understood(platform, audio) for audio in formats))
    for audio, text in zip(formats, texts, strict=True):
        assert word_error_rate(BECKETT, text) <= 0.12, (audio, text)


async def understood(platform: ProcessPlatform, audio: AudioFormat) -> str:
    """What the recognizer understands of a reader whose client sends this format."""
    pcm = beckett(audio)
    client = SessionClient(platform.bus)
    offer = await client.claim("listening")
    async with client.follow(offer.session) as followed, ClientSession() as http:
        url = f"{offer.url}&rate={audio.hz}&channels={audio.channels}"
        async with http.ws_connect(url) as socket, asyncio.timeout(WITHIN_S):
            assert (await socket.receive_json())["type"] == "session"
            size = audio.bytes_in(MESSAGE_MS)
            for at in range(0, len(pcm), size):
                await socket.send_bytes(pcm[at : at + size])
                await asyncio.sleep(MESSAGE_MS / 1000)
            while True:
                text = " ".join(final.text for final in followed.all(TranscriptFinal))
                if words(text)[-1:] == words(BECKETT)[-1:]:
                    return text
                await asyncio.sleep(MESSAGE_MS / 1000)


def beckett(audio: AudioFormat) -> bytes:
    """The recording and some silence in this format, the same in all channels."""
    samples, rate = soundfile.read(path("beckett"), dtype="float32", always_2d=True)
    resampled = soxr.resample(samples.mean(axis=1), rate, audio.hz)
    pcm = bytes((resampled.clip(-1, 1).repeat(audio.channels) * 32_767).astype("<i2").tobytes())
    return pcm + bytes(audio.bytes_in(SILENCE_S * 1_000))
