"""Every final transcript of every call, live. Needs nats-py and msgpack, nothing of ours. Argument: URL of NATS."""

import asyncio
import sys
from contextlib import suppress

import msgpack
import nats
from nats.aio.msg import Msg


async def main(url: str = "nats://127.0.0.1:4222") -> None:
    async def heard(message: Msg) -> None:
        event = msgpack.unpackb(message.data)
        if event["text"]:  # a cough has no words
            print(event["agent"], event["session"], event["utterance"], event["text"], flush=True)

    bus = await nats.connect(url)
    await bus.subscribe("va1.event.*.*.stt.transcript_final", cb=heard)
    await asyncio.Event().wait()


with suppress(KeyboardInterrupt):
    asyncio.run(main(*sys.argv[1:2]))
