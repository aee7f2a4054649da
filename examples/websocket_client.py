"""A whole client: plays a 16 kHz mono WAV to an agent and keeps the answer. Arguments: URL IN.wav OUT.wav."""

import asyncio
import json
import sys
import wave

import aiohttp


async def main(url: str, question: str, answer: str) -> None:
    with wave.open(question) as wav:
        pcm = wav.readframes(wav.getnframes()) + bytes(10 * 32_000)  # then ten seconds of silence to listen in
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as call:
        opened = await call.receive_json()
        if opened["type"] == "error":
            sys.exit(opened["message"])
        speaking = asyncio.create_task(speak(call, pcm))
        with wave.open(answer, "wb") as wav:
            wav.setparams((1, 2, 24_000, 0, "NONE", ""))
            async for message in call:
                if message.type is aiohttp.WSMsgType.BINARY:
                    wav.writeframes(message.data)  # to play it: see "clear" in the protocol
                elif json.loads(message.data)["type"] in ("hangup", "error"):
                    break
        speaking.cancel()


async def speak(call: aiohttp.ClientWebSocketResponse, pcm: bytes) -> None:
    begin = asyncio.get_running_loop().time()
    for number in range(len(pcm) // 640):
        await call.send_bytes(pcm[number * 640 : number * 640 + 640])
        await asyncio.sleep(begin + (number + 1) * 0.020 - asyncio.get_running_loop().time())
    await call.send_json({"type": "hangup"})


asyncio.run(main(*sys.argv[1:4]))
