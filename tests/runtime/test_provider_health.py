"""Workers share the health of providers over a real nats-server."""

import asyncio
from contextlib import AsyncExitStack

from pydantic import SecretStr

from antiphon_testing.bus import WITHIN_S, bus, nats, until
from bus.connect import Bus
from schemas.breakers import BreakerKey
from schemas.provider_keys import ProviderKeys
from stages.runtime.breakers import WAITS_US
from stages.runtime.provider_health import ProviderHealth, fingerprint

__all__ = ["bus", "nats"]

KEY = BreakerKey("llm", "acme")


def break_down(health: ProviderHealth) -> None:
    health.failed(KEY, "connection")
    health.failed(KEY, "connection")


async def admitted(health: ProviderHealth) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await health.admit(KEY):
            await asyncio.sleep(0.05)


async def test_a_provider_that_fails_in_one_worker_is_avoided_in_all_and_used_again_in_all(bus: Bus) -> None:
    one, other = ProviderHealth("w1"), ProviderHealth("w2")
    async with one.shared(bus), other.shared(bus):
        break_down(one)
        assert not one.is_used(KEY)
        await until(lambda: not other.is_used(KEY))
        await admitted(other)  # after a second the first who asks tries it
        other.succeeded(KEY)
        assert other.is_used(KEY)
        await until(lambda: one.is_used(KEY))


async def test_one_worker_alone_makes_the_attempt(bus: Bus) -> None:
    workers = [ProviderHealth(f"w{number}") for number in range(5)]
    first = workers[0]
    async with AsyncExitStack() as sharing:
        for worker in workers:
            await sharing.enter_async_context(worker.shared(bus))
        await until(lambda: all(worker._bucket is not None for worker in workers))
        break_down(first)
        await until(lambda: not any(worker.is_used(KEY) for worker in workers))
        await until(lambda: not first._storing)
        await asyncio.sleep(WAITS_US[0] / 1_000_000)
        assert sum(await asyncio.gather(*(worker.admit(KEY) for worker in workers))) == 1


async def test_a_worker_that_starts_later_learns_what_fails(bus: Bus) -> None:
    first, newcomer = ProviderHealth("w1"), ProviderHealth("w2")
    async with first.shared(bus):
        await until(lambda: first._bucket is not None)
        break_down(first)
        await until(lambda: not first._storing)
        async with newcomer.shared(bus):
            await until(lambda: not newcomer.is_used(KEY))


async def test_without_others_a_worker_decides_alone() -> None:
    health = ProviderHealth()
    break_down(health)
    assert not await health.admit(KEY)
    await admitted(health)
    health.succeeded(KEY)
    assert await health.admit(KEY)


def test_the_fingerprint_follows_the_keys_and_shows_none() -> None:
    def of(key: str) -> str:
        return fingerprint(ProviderKeys({"ACME_API_KEY": SecretStr(key)}))

    assert of("secret-1") == of("secret-1") != of("secret-2")
    assert "secret" not in of("secret-1")
