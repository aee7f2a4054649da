"""Time a bare echo over four hops of the same server: the way of a turn without the work of its stages."""

import asyncio
import sys
import time

from bus.connect import Bus

HOPS = 4
PAYLOAD = bytes(200)  # the length of most events
EVERY_S = 0.005  # long enough that all processes sleep in between, as between turns


async def four_hops(bus: Bus, url: str, times: int = 200) -> list[float]:
    """Return ms for messages over the four hops, through three relays in their own processes."""
    relays = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.relay", url, f"bench.hop{hop}", f"bench.hop{hop + 1}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for hop in range(HOPS - 1)
    ]  # fmt: skip
    try:
        for relay in relays:
            assert relay.stdout
            await relay.stdout.readline()
        came = asyncio.Event()
        subscription = await bus.subscribe(f"bench.hop{HOPS - 1}", lambda _message: came.set())
        await bus.flush()
        took = []
        for _ in range(times):
            came.clear()
            began = time.perf_counter()
            bus.publish("bench.hop0", PAYLOAD)
            await asyncio.wait_for(came.wait(), 2)
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(EVERY_S)
        await subscription.unsubscribe()
        return took
    finally:
        for relay in relays:
            assert relay.stdin
            relay.stdin.close()
            await relay.wait()
