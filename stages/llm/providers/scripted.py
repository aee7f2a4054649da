"""A model for tests and bench: it gives the replies in the agent document, at the times given there."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from stages.llm.contract import Capabilities, Finish, ReplyItem, ReplyRequest, TextDelta
from stages.runtime.providers import ProviderContext, parse_options

Ms = Annotated[float, Field(ge=0, le=600_000)]

_WORD = re.compile(r"\s*\S+\s*")


class Options(BaseModel):
    """replies: given in turn, cyclically; `{text}` stands for the caller's words, `{session}` for the session's id.

    first_ms: from the request to the first word; token_ms: between words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    replies: Annotated[list[str], Field(min_length=1)] = ["You said {text}."]
    first_ms: Ms = 50
    token_ms: Ms = 5


class Script:
    """The model of one session."""

    model = "scripted"

    def __init__(self, options: Options) -> None:
        self._options = options
        self._given = 0

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the next reply, word by word with the space that follows; behind what was already spoken of it."""
        reply = self._options.replies[self._given % len(self._options.replies)]
        self._given += 1
        text = reply.replace("{session}", request.session).replace("{text}", request.utterance)
        text = text.removeprefix(request.already_spoken)
        clock = asyncio.get_running_loop()
        due = clock.time() + self._options.first_ms / 1000
        for word in _WORD.findall(text):
            await asyncio.sleep(max(0.0, due - clock.time()))
            yield TextDelta(word)
            due += self._options.token_ms / 1000
        yield Finish()


class Scripts:
    """The provider: it has nothing to share."""

    capacity = None
    capabilities = Capabilities()

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Script]:
        yield Script(parse_options(Options, options))


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Scripts]:
    """Needs nothing."""
    yield Scripts()
