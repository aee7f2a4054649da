"""One reply of a model, as segments that can be spoken: bounded, plain, and never a silence that lasts."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple, cast

from stages.llm.sentences import Segmenter, plain
from stages.providers import ProviderError

MAX_REPLY = 4_000  # characters, about 1,000 tokens: four minutes of speech that nobody waits out
SILENT_S = 10.0  # a model that has been silent for this long will not save the turn
APOLOGY = "I'm sorry, something went wrong and I can't answer that just now. Please ask me again."


class Piece(NamedTuple):
    """A segment, or nothing to speak but the `failure` of the model. last: the reply has no more.

    first_token_s: on the loop's clock, when the model's first token came.
    """

    text: str
    last: bool = False
    first_token_s: float | None = None
    failure: ProviderError | None = None


async def segments(stream: AsyncIterator[str]) -> AsyncGenerator[Piece, None]:
    """`stream` segment by segment; the last piece, and only that, has `last`.

    A model that fails or says nothing at all is told as `failure`, and apologised for if nothing has been said yet;
    else the reply ends with what was said. Closing this closes the stream.
    """
    segmenter = Segmenter()
    first_token_s = None
    spoken = False
    failure = None
    try:
        async with aclosing(_bounded(stream)) as tokens:
            async for token in tokens:
                if first_token_s is None:
                    first_token_s = asyncio.get_running_loop().time()
                for segment in segmenter.feed(token):
                    if text := plain(segment):
                        yield Piece(text, first_token_s=first_token_s)
                        spoken = True
    except ProviderError as error:
        failure = error
    rest = "" if failure else " ".join(filter(None, map(plain, segmenter.flush())))
    if not failure and not spoken and not rest:
        failure = ProviderError("server", "the reply was empty", retryable=True)
    if failure:
        yield Piece("", failure=failure)
        rest = "" if spoken else APOLOGY
    yield Piece(rest, last=True, first_token_s=first_token_s)


async def _bounded(stream: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Tokens up to MAX_REPLY characters; raises ProviderError when none comes for SILENT_S."""
    left = MAX_REPLY
    async with aclosing(cast(AsyncGenerator[str, None], stream)):
        while left > 0:
            try:
                async with asyncio.timeout(SILENT_S):
                    token = await anext(stream, None)
            except TimeoutError:
                raise ProviderError("timeout", f"no token for {SILENT_S:g} s", retryable=True) from None
            if token is None:
                return
            yield token[:left]
            left -= len(token)


async def recite(text: str) -> AsyncIterator[str]:
    """A fixed text as a stream."""
    yield text
