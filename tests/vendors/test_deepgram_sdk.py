"""Deepgram's own client understands our stand-in, so the stand-in is more than a mirror of our adapter."""

import asyncio
from typing import Any

import pytest

from antiphon_testing.resampling import resample
from antiphon_testing.speech import silence
from antiphon_testing.vendors.deepgram_server import deepgram_server
from schemas.audio import AGENT_HZ, CALLER_HZ
from stages.tts.token_codec import encode

SPEECH = silence(0.3) + b"".join(resample(iter([encode("Good morning.")]), AGENT_HZ, CALLER_HZ)) + silence(0.6)
WITHIN_S = 30.0

pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # the SDK asks for its old names
deepgram = pytest.importorskip("deepgram", reason="deepgram-sdk is not installed: pip install deepgram-sdk")


def client(url: str) -> Any:  # the SDK is optional, so its types are
    from deepgram.environment import DeepgramClientEnvironment

    socket = url.replace("http", "ws")
    where = DeepgramClientEnvironment(base=url, production=socket, agent=socket, agent_rest=url)
    return deepgram.AsyncDeepgramClient(api_key="sesame", environment=where)


async def test_nova() -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        deepgram_server(key="sesame") as server,
        client(server.url).listen.v1.connect(
            model="nova-3", encoding="linear16", sample_rate=CALLER_HZ, interim_results=True
        ) as socket,
    ):
        for sent in range(0, len(SPEECH), 3200):
            await socket.send_media(SPEECH[sent : sent + 3200])
        await socket.send_keep_alive()
        await socket.send_finalize()
        await socket.send_close_stream()
        messages = [message async for message in socket]
    kinds = [message.type for message in messages]
    assert kinds[0] == "SpeechStarted"
    assert kinds[-1] == "Metadata"
    finals = [message for message in messages if message.type == "Results" and message.is_final]
    assert "Good morning." in [message.channel.alternatives[0].transcript for message in finals]
    words = next(message.channel.alternatives[0].words for message in finals if message.speech_final)
    assert [word.punctuated_word for word in words] == ["Good", "morning."]
    assert server.received == ["KeepAlive", "Finalize", "CloseStream"]


async def test_flux() -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        deepgram_server() as server,
        client(server.url).listen.v2.connect(
            model="flux-general-en", encoding="linear16", sample_rate=CALLER_HZ, eager_eot_threshold=0.4
        ) as socket,
    ):
        for sent in range(0, len(SPEECH), 3200):
            await socket.send_media(SPEECH[sent : sent + 3200])
        await socket.send_close_stream()
        messages = [message async for message in socket]
    assert messages[0].type == "Connected"
    turns = [message for message in messages if message.type == "TurnInfo"]
    assert [turns[0].event, turns[-2].event] == ["StartOfTurn", "EndOfTurn"]
    assert "EagerEndOfTurn" in [turn.event for turn in turns]
    ended = next(turn for turn in turns if turn.event == "EndOfTurn")
    assert (ended.transcript, ended.trigger) == ("Good morning.", "model")
