"""A worker learns from its heartbeats that a coordinator is gone, and that it is back."""

import os
import signal
from pathlib import Path

from antiphon_testing.bus import server_pid, until
from bus.connect import Bus
from bus.heartbeats import Heartbeats
from schemas import subjects


async def test_a_worker_learns_that_its_coordinator_is_gone_and_that_it_is_back(bus: Bus) -> None:
    heartbeats = Heartbeats(bus, "w1")
    await heartbeats.open()
    heard: list[bytes] = []
    listening = await bus.subscribe(subjects.heartbeats_to("i1"), lambda message: heard.append(message.data))
    heartbeats.send("i1", b"heartbeat")
    await until(lambda: heard == [b"heartbeat"])
    assert heartbeats.undelivered_s("i1") == 0.0

    await listening.unsubscribe()

    def unreceived() -> bool:
        heartbeats.send("i1", b"heartbeat")
        return heartbeats.undelivered_s("i1") > 0.1

    await until(unreceived)
    assert heartbeats.undelivered_s("i2") == 0.0  # another coordinator is another matter

    await bus.subscribe(subjects.heartbeats_to("i1"), lambda *_: None)

    def received() -> bool:
        heartbeats.send("i1", b"heartbeat")
        return heartbeats.undelivered_s("i1") == 0.0

    await until(received)


async def test_a_worker_that_is_cut_off_from_the_bus_is_heard_by_nobody(bus: Bus, tmp_path: Path) -> None:
    heartbeats = Heartbeats(bus, "w1")
    await heartbeats.open()
    await bus.subscribe(subjects.heartbeats_to("i1"), lambda *_: None)

    def unheard() -> bool:
        heartbeats.send("i1", b"heartbeat")
        return heartbeats.undelivered_s("i1") > 0.1

    assert not unheard()
    server = server_pid(tmp_path)
    os.kill(server, signal.SIGSTOP)
    try:
        await until(unheard)
    finally:
        os.kill(server, signal.SIGCONT)
    await until(lambda: not unheard())
