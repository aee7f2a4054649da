"""A short notice for a caller who waits for the first words of a slow reply: once a turn, in the agent's language."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stages.llm.reply import Piece

NOTICES = {
    "de": "Einen Moment, bitte.",
    "en": "One moment, please.",
    "es": "Un momento, por favor.",
    "fr": "Un instant, s'il vous plaît.",
    "it": "Un momento, per favore.",
    "nl": "Een ogenblik, alstublieft.",
    "pt": "Um momento, por favor.",
}


def notice(language: str) -> str:
    """Return the notice for a code such as "de-AT"; in English where the language has none."""
    return NOTICES.get(language.partition("-")[0].lower(), NOTICES["en"])


async def with_waiting_notice(
    pieces: AsyncGenerator[Piece, None], after_ms: int, text: str
) -> AsyncGenerator[Piece, None]:
    """Yield `pieces`, and a notice as soon as none of them had words within `after_ms`. Closing this closes `pieces`.

    A provider that fails has no words: the wait goes on while the next one is asked.
    """
    clock = asyncio.get_running_loop()
    notice_at_s = clock.time() + after_ms / 1000
    waits = True
    async with aclosing(pieces):
        while waits:
            coming = asyncio.ensure_future(anext(pieces))
            try:
                done, _ = await asyncio.wait((coming,), timeout=max(0.0, notice_at_s - clock.time()))
                if not done:
                    waits = False
                    yield Piece(text, kind="notice")
                piece = await coming
            except StopAsyncIteration:
                return
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait((coming,))  # a generator that still runs cannot be closed
            waits = waits and not piece.text
            yield piece
        async for piece in pieces:
            yield piece
