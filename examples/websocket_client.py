"""A whole client: plays a WAV to an agent and keeps the answer. Arguments: URL IN.wav OUT.wav."""

import asyncio
import json
import sys
import wave
from typing import Any

import aiohttp
from yarl import URL


async def main(url: str, question: str, answer: str) -> None:
    try:
        with wave.open(question) as wav:
            channels, sample_bytes, rate = wav.getparams()[:3]
            if sample_bytes != 2:
                sys.exit(f"{question} is not 16-bit PCM: convert it, or: antiphon say TEXT --out FILE")
            second = rate * channels * sample_bytes
            pcm = wav.readframes(wav.getnframes()) + bytes(10 * second)  # then ten seconds of silence to listen in
    except (OSError, EOFError, wave.Error) as error:
        why = getattr(error, "strerror", None) or error
        sys.exit(f"cannot read {question}: {why}. To make one: antiphon say 'When are you open?' --out {question}")
    address = URL(url).update_query(rate=rate, channels=channels)
    async with aiohttp.ClientSession() as http, http.ws_connect(address) as call:
        opened = await call.receive_json()
        if opened["type"] == "error":
            sys.exit(opened["message"])
        speaking = asyncio.create_task(speak(call, pcm, rate // 50 * channels * sample_bytes))
        with wave.open(answer, "wb") as wav:
            wav.setparams((1, 2, 24_000, 0, "NONE", ""))
            async for message in call:
                if message.type is aiohttp.WSMsgType.BINARY:
                    wav.writeframes(message.data)  # to play it: see "clear" in the protocol
                elif is_last(json.loads(message.data)):
                    break
        speaking.cancel()


def is_last(message: dict[str, Any]) -> bool:
    return bool(message["type"] == "hangup" or (message["type"] == "error" and message.get("final", True)))


async def speak(call: aiohttp.ClientWebSocketResponse, pcm: bytes, frame: int) -> None:
    begin = asyncio.get_running_loop().time()
    for number in range(len(pcm) // frame):
        await call.send_bytes(pcm[number * frame : (number + 1) * frame])
        await asyncio.sleep(begin + (number + 1) * 0.020 - asyncio.get_running_loop().time())
    await call.send_json({"type": "hangup"})


if len(sys.argv) != 4:
    sys.exit(__doc__)
try:
    asyncio.run(main(*sys.argv[1:]))
except (OSError, aiohttp.ClientError) as error:
    sys.exit(f"cannot call {sys.argv[1]}: {error}. Is `antiphon up` running?")
