"""The notice of a slow reply: when it comes, once, and never too many."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from antiphon_testing.virtual_time import in_virtual_time
from stages.llm.reply import Piece
from stages.llm.waiting_notice import notice, with_waiting_notice
from stages.runtime.providers import ProviderError

AFTER_MS = 3_000


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "One moment, please."),
        ("en-GB", "One moment, please."),
        ("de-AT", "Einen Moment, bitte."),
        ("FR", "Un instant, s'il vous plaît."),
        ("multi", "One moment, please."),
        ("sw", "One moment, please."),
    ],
)
def test_a_notice_is_in_the_language_of_the_agent(language: str, text: str) -> None:
    assert notice(language) == text


@pytest.mark.parametrize(
    ("waits_s", "kinds", "at_s"),
    [
        ((0.0, 0.0), ["reply", "reply"], [0, 0]),
        ((2.0, 20.0), ["reply", "reply"], [2, 22]),  # only the first words have this deadline
        ((8.0, 0.0), ["notice", "reply", "reply"], [3, 8, 8]),
        ((20.0, 20.0), ["notice", "reply", "reply"], [3, 20, 40]),
    ],
)
def test_a_notice_comes_once_and_the_reply_behind_it(
    waits_s: tuple[float, ...], kinds: list[str], at_s: list[float]
) -> None:
    @in_virtual_time
    async def story() -> None:
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        came = [
            (piece.kind, clock.time() - began_s)
            async for piece in with_waiting_notice(reply(*waits_s), AFTER_MS, "One moment, please.")
        ]
        assert [kind for kind, _ in came] == kinds
        assert [at for _, at in came] == pytest.approx(at_s, abs=0.1)

    story()


@in_virtual_time
async def test_a_provider_that_fails_does_not_end_the_wait() -> None:
    async def falls_back() -> AsyncGenerator[Piece, None]:
        await asyncio.sleep(1)
        yield Piece("", failure=ProviderError("timeout", "no sign of life", retryable=True))
        await asyncio.sleep(4)
        yield Piece("At nine.", last=True)

    pieces = [piece async for piece in with_waiting_notice(falls_back(), AFTER_MS, "One moment, please.")]
    assert [piece.failure is not None for piece in pieces] == [True, False, False]
    assert [piece.text for piece in pieces] == ["", "One moment, please.", "At nine."]


@in_virtual_time
async def test_a_turn_that_is_cancelled_while_it_waits_closes_the_reply() -> None:
    closed = asyncio.Event()

    async def slow() -> AsyncGenerator[Piece, None]:
        try:
            await asyncio.sleep(60)
            yield Piece("Too late.", last=True)
        finally:
            closed.set()

    async def read() -> None:
        async for _ in with_waiting_notice(slow(), AFTER_MS, "One moment, please."):
            pass

    for after_s in (1, 5):
        closed.clear()
        reading = asyncio.create_task(read())
        await asyncio.sleep(after_s)
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()
        await asyncio.sleep(1)
        assert closed.is_set()


async def reply(*waits_s: float) -> AsyncGenerator[Piece, None]:
    for number, wait_s in enumerate(waits_s):
        await asyncio.sleep(wait_s)
        yield Piece(f"Sentence {number}.", last=number == len(waits_s) - 1)
