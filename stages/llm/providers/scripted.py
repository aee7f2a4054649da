"""A model for tests and bench: it gives the replies that stand in the agent document, on time."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from stages.runtime.providers import ProviderContext, ReplyRequest, parse_options

Ms = Annotated[float, Field(ge=0, le=600_000)]

_WORD = re.compile(r"\s*\S+\s*")


class Options(BaseModel):
    """replies: given in turn, cyclically; `{text}` is what the caller said, `{session}` the session's id.

    first_ms: from the request to the first word; token_ms: between words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    replies: Annotated[list[str], Field(min_length=1)] = ["You said {text}."]
    first_ms: Ms = 50
    token_ms: Ms = 5


class Script:
    """The replies to one caller."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._given = 0

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[str, None]:
        """The next reply, word by word with the space that follows."""
        reply = self._options.replies[self._given % len(self._options.replies)]
        self._given += 1
        text = reply.replace("{session}", request.session).replace("{text}", request.utterance)
        clock = asyncio.get_running_loop()
        due = clock.time() + self._options.first_ms / 1000
        for word in _WORD.findall(text):
            await asyncio.sleep(max(0.0, due - clock.time()))
            yield word
            due += self._options.token_ms / 1000


class Scripts:
    capacity = None

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Script]:
        yield Script(parse_options(Options, options))


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Scripts]:
    """Needs nothing."""
    yield Scripts()
