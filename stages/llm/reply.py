"""One reply of a model as segments that can be spoken: bounded in length and time, and never a silence that lasts."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, NamedTuple

from schemas.events.llm import Usage
from stages.llm.contract import (
    SILENT_S,
    ContextTooLong,
    Finish,
    LanguageModel,
    ReplyItem,
    ReplyRequest,
    TextDelta,
    ToolCall,
)
from stages.llm.prompt import shortened
from stages.llm.sentences import Segmenter, plain, without_fragment
from stages.markup import MarkupRemover
from stages.runtime.item_timeout import with_item_timeout
from stages.runtime.providers import ProviderError

MAX_REPLY = 4_000  # characters, about 1,000 tokens: four minutes of speech, longer than any caller waits
FRAGMENT_S = 3.0  # words of a slow model wait this long for the end of their sentence
APOLOGY = "I'm sorry, something went wrong and I can't answer that just now. Please ask me again."


class Patience(NamedTuple):
    """How long a model may stay silent, in seconds: without a sign of life, and without words at first."""

    silent_s: float
    first_words_s: float


FIRST_WORDS_S = 30.0  # a model that shows life may reason this long before its first words
PATIENT = Patience(SILENT_S, FIRST_WORDS_S)
QUICK = Patience(2.5, 8.0)  # where another provider waits: with it a caller hears words again within 3 s


class Piece(NamedTuple):
    """A segment to speak, or a `failure` of the model without one.

    provider, next: with a failure, the provider that failed and the one that goes on, "" for none.
    last: the reply has no more. kind: a `notice` stands in for a reply that failed, and is no part of the conversation.
    first_token_s: when the first text came, on the loop's clock. With the last piece: usage, the tokens that the model
    counted; truncated, whether the reply ends before the model had finished it.
    """

    text: str
    last: bool = False
    kind: Literal["reply", "notice"] = "reply"
    first_token_s: float | None = None
    failure: ProviderError | None = None
    provider: str = ""
    next: str = ""
    usage: Usage | None = None
    truncated: bool = False


async def ask(model: LanguageModel, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
    """Yield the reply of `model`; where the request is too long for it, ask once more with half of the history."""
    try:
        async with aclosing(model.reply(request)) as items:
            async for item in items:
                yield item
        return
    except ContextTooLong:
        if not request.history:
            raise
    async with aclosing(model.reply(shortened(request))) as items:
        async for item in items:
            yield item


async def segments(
    stream: AsyncGenerator[ReplyItem, None], patience: Patience = PATIENT, *, begun: bool = False
) -> AsyncGenerator[Piece, None]:
    """Yield `stream` segment by segment; the last piece, and only that one, has `last`.

    A model that fails, or says nothing, yields one piece with a `failure`. An apology follows if no segment came
    before; otherwise the reply ends with its last whole segment. Closing this generator closes the stream.
    begun: the stream continues a reply, and may add nothing to it.
    """
    reply = _Reply(patience, begun=begun)
    try:
        async with aclosing(with_item_timeout(stream, patience.silent_s)) as items:
            async for item in items:
                for text in reply.take(item, asyncio.get_running_loop().time()):
                    yield Piece(text, first_token_s=reply.first_token_s)
                if reply.ended:
                    break
    except TimeoutError:
        reply.failure = ProviderError("timeout", f"no sign of life for {patience.silent_s:g} s", retryable=True)
    except ProviderError as error:
        reply.failure = error
    rest = reply.rest()
    if reply.failure:
        yield Piece("", failure=reply.failure)
    if reply.failure and not (reply.spoken or rest):
        yield Piece(APOLOGY, last=True, kind="notice", usage=reply.usage)
    else:
        yield Piece(rest, last=True, first_token_s=reply.first_token_s, usage=reply.usage, truncated=reply.truncated)


class _Reply:
    """The state of one reply while it is read."""

    def __init__(self, patience: Patience, *, begun: bool) -> None:
        self.first_token_s: float | None = None
        self.spoken = begun
        self.ended = False
        self.truncated = False
        self.usage: Usage | None = None
        self.failure: ProviderError | None = None
        self._first_words_s = patience.first_words_s
        self._markup = MarkupRemover()
        self._segmenter = Segmenter()
        self._left = MAX_REPLY
        self._began_s = asyncio.get_running_loop().time()
        self._segment_began_s = self._began_s  # when the first text behind the last segment came
        self._called = False

    def take(self, item: ReplyItem, now_s: float) -> list[str]:
        """Return the segments that `item` completes. Raises ProviderError."""
        match item:
            case TextDelta(text) if text:
                return self._read(text, now_s)
            case ToolCall():
                self._called = True
            case Usage():
                self.usage = item
            case Finish(reason):
                self.ended = True
                self.truncated = reason in ("length", "content_filter")
        if self.first_token_s is None and now_s - self._began_s > self._first_words_s:
            raise ProviderError("timeout", f"no words for {self._first_words_s:g} s", retryable=True)
        return self._overdue(now_s)

    def rest(self) -> str:
        """Return what is left to speak when the stream has ended, and settle `failure` and `truncated`."""
        if self.failure:
            self.truncated = self.spoken
            return ""
        rest = " ".join(filter(None, map(plain, self._segmenter.feed(self._markup.flush()) + self._segmenter.flush())))
        if self.truncated:
            rest = without_fragment(rest, alone=not self.spoken)
        if self._called:
            self.failure = ProviderError("bad_request", "the model called a tool that was not offered")
        elif not self.spoken and not rest:
            self.failure = ProviderError("server", "the reply was empty", retryable=True)
        return rest

    def _read(self, text: str, now_s: float) -> list[str]:
        if self.first_token_s is None:
            self.first_token_s = self._segment_began_s = now_s
        completed = self._spoken(self._segmenter.feed(self._markup.feed(text[: self._left])), now_s)
        self._left -= len(text)
        if self._left <= 0:
            self.ended = self.truncated = True
        return completed or self._overdue(now_s)

    def _overdue(self, now_s: float) -> list[str]:
        """Return the whole words of a sentence that does not end."""
        if self.first_token_s is None or now_s - self._segment_began_s < FRAGMENT_S:
            return []
        return self._spoken(self._segmenter.take_words(), now_s)

    def _spoken(self, found: list[str], now_s: float) -> list[str]:
        texts = [text for segment in found if (text := plain(segment))]
        if texts:
            self.spoken, self._segment_began_s = True, now_s
        return texts


async def recite(text: str) -> AsyncGenerator[ReplyItem, None]:
    """Yield a fixed text as a reply."""
    yield TextDelta(text)
    yield Finish()
