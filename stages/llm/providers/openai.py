"""OpenAI, and every server that speaks its chat completions: one file, one client per worker, URL and key.

A key goes only where it belongs: with a `base_url` of its own an agent sends none unless it names one with `key_env`.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, ConfigDict, Field

from schemas.events import ProviderErrorKind
from stages.llm.prompt import chat_messages
from stages.runtime.providers import ProviderContext, ProviderError, ReplyRequest, parse_options

KEY = "OPENAI_API_KEY"
URL = "OPENAI_BASE_URL"
NO_KEY = "none"  # the SDK wants one; servers that need none ignore it
CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
RETRIES = 1  # hides a kept-alive connection that the server had closed; more of them would be heard as silence

# What the SDK lets through while it streams: its own errors, the connection's, and a server's broken JSON or UTF-8.
_FAILURES = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, json.JSONDecodeError, UnicodeDecodeError)
_CODE = re.compile(r"[a-z0-9_.-]{1,64}")


class Options(BaseModel):
    """model: of the server's. max_tokens: of the reply. timeout_s: without a byte. extra: fields of this vendor's own.

    base_url: at most servers it ends in /v1; None is OPENAI_BASE_URL, else OpenAI itself.
    key_env: the variable that holds the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] = "gpt-5.4-mini"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None  # some models refuse any
    max_tokens: Annotated[int, Field(ge=1, le=4_000)] = 1_000
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    key_env: str | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60, alias="timeout")] = 10.0
    extra: dict[str, Any] = {}


class Chat:
    """One caller's model."""

    def __init__(self, client: AsyncOpenAI, options: Options, limit: str) -> None:
        self._client = client
        self._options = options
        self._limit = limit

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[str, None]:
        """Pieces of text as the server streams them. Raises ProviderError."""
        try:
            async with await self._ask(request) as stream:
                finished = False
                async for chunk in stream:
                    for choice in chunk.choices or ():  # none in a chunk that only counts tokens
                        finished = finished or choice.finish_reason is not None
                        if choice.delta.content:
                            yield choice.delta.content
        except _FAILURES as error:
            raise _told(error) from None  # the original may hold the key or the caller's words
        if not finished:
            raise ProviderError("connection", "the stream ended before the reply did", retryable=True)

    async def _ask(self, request: ReplyRequest) -> AsyncStream[ChatCompletionChunk]:
        fields: dict[str, Any] = {
            "model": self._options.model,
            "messages": chat_messages(request),
            self._limit: self._options.max_tokens,
        }
        if self._options.temperature is not None:
            fields["temperature"] = self._options.temperature
        stream: AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
            **fields, stream=True, timeout=_timeout(self._options), extra_body=self._options.extra or None
        )
        return stream


class OpenAI:
    """The clients of one worker, kept open between calls so that no reply waits for a handshake."""

    capacity = None

    def __init__(self, context: ProviderContext, exits: AsyncExitStack) -> None:
        self._context = context
        self._exits = exits
        self._clients: dict[tuple[str | None, str], AsyncOpenAI] = {}

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Chat]:
        """Raises ProviderMissing, naming the variable, if the key is not there."""
        chosen = parse_options(Options, options)
        configured = self._context.keys.get(URL)
        url = chosen.base_url or (configured.get_secret_value() if configured else "") or None
        key_env = chosen.key_env or (None if chosen.base_url else KEY)
        key = self._context.key(key_env) if key_env else NO_KEY
        if (url, key) not in self._clients:
            client = AsyncOpenAI(api_key=key, base_url=url, max_retries=RETRIES, timeout=_timeout(chosen))
            self._clients[url, key] = await self._exits.enter_async_context(client)
        # OpenAI's newer models know only the first name, most other servers only the second.
        yield Chat(self._clients[url, key], chosen, "max_tokens" if url else "max_completion_tokens")


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[OpenAI]:
    """Connects nowhere yet: which server it is, the agents say."""
    async with AsyncExitStack() as exits:
        yield OpenAI(context, exits)


def _timeout(options: Options) -> openai.Timeout:
    return openai.Timeout(options.timeout_s, connect=min(CONNECT_S, options.timeout_s))


def _told(error: Exception) -> ProviderError:
    """The error in our words: what servers write may quote the key or the caller."""
    kind, retryable = _kind(error)
    status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else type(error).__name__
    code = getattr(error, "code", None)
    named = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
    return ProviderError(kind, f"{status}{named}", retryable=retryable)


def _kind(error: Exception) -> tuple[ProviderErrorKind, bool]:
    """(kind, retryable)"""
    match error:
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return "timeout", True
        case openai.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError():
            return "connection", True
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "auth", False
        case openai.RateLimitError():
            return "quota", True
        case openai.APIStatusError() if error.status_code < 500:
            return "bad_request", False
    return "server", True
