"""A reply that is generated during the caller's pause, before it is known whether the pause ends the turn."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from stages.llm.contract import ReplyRequest
from stages.llm.reply import Piece

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Draft:
    """The reply to `request`, kept segment by segment until it is used. failed: asking again may do better."""

    def __init__(self, request: ReplyRequest, pieces: AsyncGenerator[Piece, None], spawn: Spawn) -> None:
        self.request = request
        self.failed = False
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()  # MAX_REPLY bounds it
        self._writing = spawn(self._write(pieces))

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the segments that are there, then those that come."""
        while True:
            piece = await self._pieces.get()
            yield piece
            if piece.last:
                return

    def drop(self) -> None:
        """Stop the model."""
        self._writing.cancel()

    async def _write(self, reply: AsyncGenerator[Piece, None]) -> None:
        retryable = False
        async with aclosing(reply) as pieces:
            async for piece in pieces:
                retryable = retryable or (piece.failure is not None and piece.failure.retryable)
                self.failed = retryable and piece.last and (piece.truncated or piece.kind == "notice")
                self._pieces.put_nowait(piece)
