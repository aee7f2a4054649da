"""OpenAI's chat completions over HTTP: OpenAI itself, and every vendor or local server that speaks the same API.

Without OpenAI's SDK, which reads keys and headers from the environment and sends them to any `base_url`, follows
redirects, sleeps through `Retry-After` and ends a stream at an event without data: see decision 26.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.events import ProviderErrorKind
from schemas.provider_keys import origin
from stages.llm.chat_chunks import ChatChunks
from stages.llm.contract import SILENT_S, Capabilities, Progress, ReplyItem, ReplyRequest
from stages.llm.prompt import chat_messages
from stages.llm.refusals import refusal
from stages.llm.sse import MAX_EVENT, SseDecoder, TooLong
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http

KEY = "OPENAI_API_KEY"
HOMES = {
    KEY: "https://api.openai.com/v1",
    "CEREBRAS_API_KEY": "https://api.cerebras.ai/v1",
    "GEMINI_API_KEY": "https://generativelanguage.googleapis.com/v1beta/openai",
    "GROQ_API_KEY": "https://api.groq.com/openai/v1",
}
CONNECT_S = 3.0  # a handshake across an ocean takes 0.5 s
TRIES = 2  # the second hides a kept-alive connection that the server had closed; more would be heard as silence
RETRY_AFTER_S = 0.3  # without a `Retry-After`
WAIT_S = 2.0  # a longer `Retry-After` fails at once: the caller would hear silence
LINGER_S = 0.2  # behind a complete reply: the token counts, and the end that frees the connection for the next one
MAX_ERROR = 64_000  # bytes of an error that are read

_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
ALIVE = Progress()

log = structlog.get_logger("llm.openai")


class Options(BaseModel):
    """model: of the server's. max_tokens: of the reply. timeout: seconds without a byte. extra: further fields.

    base_url: at most servers it ends in /v1. None is the worker's OPENAI_BASE_URL, else OpenAI itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] = "gpt-5.4-mini"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None  # some models refuse any
    max_tokens: Annotated[int, Field(ge=1, le=4_000)] = 1_000
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=SILENT_S, alias="timeout")] = SILENT_S
    extra: dict[str, Any] = {}  # Any: fields of this vendor's own, which pass through as they are

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, options: Any) -> Any:
        """Refuse the former option `key_env`, through which a document could send any variable anywhere."""
        if isinstance(options, Mapping) and "key_env" in options:
            raise ValueError(
                "key_env is gone: remove it. The operator binds a key to a host, "
                "with ANTIPHON_KEY_HOSTS=NAME_API_KEY=host of the llm worker"
            )
        return options


class Chat:
    """The model of one session."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        self.model = options.model
        self._endpoint = endpoint
        self._options = options
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(CONNECT_S, options.timeout_s), sock_read=options.timeout_s
        )

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the items of the reply as the server streams them. Raises ProviderError."""
        chunks, decoder = ChatChunks(), SseDecoder()
        try:
            async with await self._ask(self._body(request)) as response:
                if response.content_type == "application/json":  # a server that does not stream
                    for item in chunks.feed((await _read(response, MAX_EVENT)).decode(errors="replace")):
                        yield item
                else:
                    async for received in _received(response, chunks):
                        for item in [item for data in decoder.feed(received) for item in chunks.feed(data)] or [ALIVE]:
                            yield item
                    for item in [item for data in decoder.flush() for item in chunks.feed(data)]:
                        yield item
        except _BROKEN as error:
            raise _broken(error) from None  # the original may hold the caller's words
        except TooLong:
            raise ProviderError("server", f"an event of the stream exceeds {MAX_EVENT} bytes") from None
        for item in chunks.end():
            yield item
        if chunks.skipped:
            log.warning("chunks of an unexpected shape were skipped", session=request.session, chunks=chunks.skipped)

    def _body(self, request: ReplyRequest) -> dict[str, object]:
        options, home = self._options, origin(self._endpoint.url)
        # OpenAI's newer models know only the first name, most other servers only the second.
        limit = "max_completion_tokens" if home == origin(HOMES[KEY]) else "max_tokens"
        body: dict[str, object] = {
            "model": options.model,
            "messages": chat_messages(request),
            "stream": True,
            limit: options.max_tokens,
        }
        if home in map(origin, HOMES.values()):  # other servers may refuse the field, or count without it
            body["stream_options"] = {"include_usage": True}
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if request.tools:
            body["tools"] = [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in request.tools]
        return {**body, **options.extra}

    async def _ask(self, body: Mapping[str, object]) -> aiohttp.ClientResponse:
        """Return the response of a server that accepted the request. Raises ProviderError after the last try."""
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        url = f"{self._endpoint.url}/chat/completions"
        for tries_left in reversed(range(TRIES)):
            try:
                response = await self._endpoint.http.post(url, json=body, headers=headers, timeout=self._timeout)
                if response.status == HTTPStatus.OK:
                    return response
                async with response:
                    error = refusal(response.status, response.headers, await _read(response, MAX_ERROR), time.time())
            except _BROKEN as broken:
                error = _broken(broken)
            wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            if not tries_left or not error.retryable or error.kind == "timeout" or wait_s > WAIT_S:
                raise error from None
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")


class OpenAI:
    """The connections of one worker, kept open between calls so that no reply waits for a handshake."""

    capacity = None
    capabilities = Capabilities(usage=True, tools=True)

    def __init__(self, http: VendorHttp) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Chat]:
        """Raises ProviderMissing that names the variable if the vendor needs a key and there is none."""
        chosen = parse_options(Options, options)
        yield Chat(await self._http.endpoint(KEY, chosen.base_url), chosen)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[OpenAI]:
    """Connects nowhere yet: each agent document names its server."""
    async with open_http(context, HOMES) as http:
        yield OpenAI(http)


async def _received(response: aiohttp.ClientResponse, chunks: ChatChunks) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the response to its end, or until nothing more comes behind a reply that is complete."""
    while True:
        try:
            async with asyncio.timeout(LINGER_S if chunks.complete else None):
                received = await response.content.readany()
        except TimeoutError:
            if chunks.complete:
                return
            raise
        if not received:
            return
        yield received


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read the body, at most `most` bytes of it."""
    body = b""
    while len(body) < most and (received := await response.content.read(most - len(body))):
        body += received
    return body


def _broken(error: Exception) -> ProviderError:
    kind: ProviderErrorKind = "timeout" if isinstance(error, TimeoutError) else "connection"
    return ProviderError(kind, type(error).__name__, retryable=True)
