"""One reply of a model, as segments that can be spoken: bounded, plain, and never a silence that lasts."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple, cast

from stages.llm.sentences import Segmenter, plain
from stages.markup import MarkupRemover
from stages.runtime.item_timeout import with_item_timeout
from stages.runtime.providers import ProviderError

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
    markup = MarkupRemover()
    segmenter = Segmenter()
    first_token_s = None
    spoken = False
    failure = None
    left = MAX_REPLY
    try:
        async with aclosing(with_item_timeout(cast(AsyncGenerator[str, None], stream), SILENT_S)) as tokens:
            async for token in tokens:
                if first_token_s is None:
                    first_token_s = asyncio.get_running_loop().time()
                for segment in segmenter.feed(markup.feed(token[:left])):
                    if text := plain(segment):
                        yield Piece(text, first_token_s=first_token_s)
                        spoken = True
                left -= len(token)
                if left <= 0:
                    break
    except TimeoutError:
        failure = ProviderError("timeout", f"no token for {SILENT_S:g} s", retryable=True)
    except ProviderError as error:
        failure = error
    rest = "" if failure else " ".join(filter(None, map(plain, [*segmenter.feed(markup.flush()), *segmenter.flush()])))
    if not failure and not spoken and not rest:
        failure = ProviderError("server", "the reply was empty", retryable=True)
    if failure:
        yield Piece("", failure=failure)
        rest = "" if spoken else APOLOGY
    yield Piece(rest, last=True, first_token_s=first_token_s)


async def recite(text: str) -> AsyncIterator[str]:
    """A fixed text as a stream."""
    yield text
