"""Relay messages from one subject to another until standard input closes: one hop of the bare echo."""

import sys

from bus.connect import connect
from bus.settings import BusSettings
from cli import processes


async def relay(url: str, source: str, target: str) -> None:
    async with connect(BusSettings(url=url), "relay") as bus:
        await bus.subscribe(source, lambda message: bus.publish(target, message.data))
        await bus.flush()
        print("ready", flush=True)
        await processes.parent_gone()


if __name__ == "__main__":
    processes.run(relay(*sys.argv[1:4]))
