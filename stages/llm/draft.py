"""A reply that is begun while the caller pauses, before anybody knows whether the pause is the end of the turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from stages.llm.reply import Piece, segments
from stages.runtime.providers import ReplyRequest

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Draft:
    """The reply to `request`, kept segment by segment until it is taken. failed: it is not worth taking."""

    def __init__(self, request: ReplyRequest, stream: AsyncIterator[str], spawn: Spawn) -> None:
        self.request = request
        self.failed = False
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()  # a reply's length is its bound
        self._writing = spawn(self._write(stream))

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """What is there, and then what comes."""
        while True:
            piece = await self._pieces.get()
            yield piece
            if piece.last:
                return

    def drop(self) -> None:
        """No more of it: the model stops."""
        self._writing.cancel()

    async def _write(self, stream: AsyncIterator[str]) -> None:
        async with aclosing(segments(stream)) as pieces:
            async for piece in pieces:
                self.failed = self.failed or piece.failure is not None
                self._pieces.put_nowait(piece)
