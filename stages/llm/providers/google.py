"""Google's Gemini over its own API, streamGenerateContent as server-sent events.

Google's endpoint with OpenAI's API would need no adapter. Google's own counts thinking and cached tokens, sets the
level of thinking, and is the one that Google recommends: https://ai.google.dev/gemini-api/docs/openai.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field

from stages.llm.contract import SILENT_S, Capabilities, Progress, ReplyItem, ReplyRequest
from stages.llm.gemini_chunks import GeminiChunks
from stages.llm.http_stream import BROKEN, StreamClient, broken, received
from stages.llm.prompt import begun_by_caller, spoken_messages, standing_instructions, turn_instructions
from stages.llm.sse import MAX_EVENT, Corrupt, SseDecoder, TooLong
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http, warmed

KEY = "GEMINI_API_KEY"
HOMES = {KEY: "https://generativelanguage.googleapis.com/v1beta"}
ALIVE = Progress()

log = structlog.get_logger("llm.google")


class Options(BaseModel):
    """max_tokens: of the reply and of the thinking before it. timeout: seconds without a byte.

    thinking: the level of Gemini 3 and later; `low` is heard as a shorter pause. extra: further fields of
    `generationConfig`, such as `thinkingConfig` of an older model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] = "gemini-3.5-flash-lite"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=4_000)] = 1_000
    thinking: Literal["minimal", "low", "medium", "high"] | None = None
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=SILENT_S, alias="timeout")] = SILENT_S
    extra: dict[str, Any] = {}  # Any: fields of the vendor's own, which pass through as they are


class Gemini:
    """The model of one session."""

    def __init__(self, endpoint: Endpoint, client: StreamClient, options: Options) -> None:
        self.model = options.model
        self._endpoint = endpoint
        self._client = client
        self._options = options

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the items of the reply as the server streams them. Raises ProviderError."""
        chunks, decoder = GeminiChunks(), SseDecoder()
        model = quote(self.model.removeprefix("models/"), safe="")
        url = f"{self._endpoint.url}/models/{model}:streamGenerateContent?alt=sse"
        headers = {"x-goog-api-key": self._endpoint.key} if self._endpoint.key else {}
        try:
            async with await self._client.post(url, msgspec.json.encode(self._body(request)), headers) as response:
                async for piece in received(response, lambda: chunks.complete):
                    for item in [item for data in decoder.feed(piece) for item in chunks.feed(data)] or [ALIVE]:
                        yield item
                for item in [item for data in decoder.flush() for item in chunks.feed(data)]:
                    yield item
        except BROKEN as error:
            raise broken(error) from None  # the original may hold the caller's words
        except TooLong:
            raise ProviderError("server", f"an event of the stream exceeds {MAX_EVENT} bytes") from None
        except Corrupt:
            raise ProviderError("server", "the stream holds bytes that are no event", retryable=True) from None
        for item in chunks.end():
            yield item
        if chunks.skipped:
            log.warning("chunks of an unexpected shape were skipped", session=request.session, chunks=chunks.skipped)

    def _body(self, request: ReplyRequest) -> dict[str, object]:
        options = self._options
        settings: dict[str, object] = {"maxOutputTokens": options.max_tokens}
        if options.temperature is not None:
            settings["temperature"] = options.temperature
        if options.thinking is not None:
            settings["thinkingConfig"] = {"thinkingLevel": options.thinking}
        body: dict[str, object] = {
            "systemInstruction": {
                "parts": [{"text": standing_instructions(request)}, {"text": turn_instructions(request)}]
            },
            "contents": [
                {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
                for message in begun_by_caller(spoken_messages(request))
            ],
            "generationConfig": {**settings, **options.extra},
        }
        if request.tools:
            declared = [
                {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
                for tool in request.tools
            ]
            body["tools"] = [{"functionDeclarations": declared}]
        return body


class Google:
    """The connections of one worker to Gemini."""

    capacity = None
    capabilities = Capabilities(usage=True, tools=True)

    def __init__(self, http: VendorHttp) -> None:
        self._http = http

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Gemini]:
        """Raises ProviderMissing that names the variable if there is no key."""
        chosen = parse_options(Options, options)
        endpoint = await self._http.endpoint(KEY, chosen.base_url)
        async with warmed(endpoint) as warming:
            client = StreamClient(endpoint, self._http.key_name(endpoint.url), chosen.timeout_s, warming)
            yield Gemini(endpoint, client, chosen)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Google]:
    """Open the connection pools."""
    async with open_http(context, HOMES) as http:
        yield Google(http)
