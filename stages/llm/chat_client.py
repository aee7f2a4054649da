"""Chat completions over HTTP, for every vendor and local server that speaks OpenAI's API.

Without OpenAI's SDK, which reads keys and headers from the environment and sends them to any `base_url`, follows
redirects, sleeps through `Retry-After` and ends a stream at an event without data: see decision 26.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.provider_keys import origin
from stages.llm.chat_chunks import ChatChunks
from stages.llm.contract import SILENT_S, Capabilities, LanguageModel, Progress, ReplyItem, ReplyRequest
from stages.llm.http_stream import BROKEN, StreamClient, broken, read, received
from stages.llm.prompt import chat_messages, standing_instructions
from stages.llm.sse import MAX_EVENT, Corrupt, SseDecoder, TooLong
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http, warmed

OPENAI_KEY, CEREBRAS_KEY, GROQ_KEY, GEMINI_KEY = "OPENAI_API_KEY", "CEREBRAS_API_KEY", "GROQ_API_KEY", "GEMINI_API_KEY"
HOMES = {
    OPENAI_KEY: "https://api.openai.com/v1",
    CEREBRAS_KEY: "https://api.cerebras.ai/v1",
    GEMINI_KEY: "https://generativelanguage.googleapis.com/v1beta/openai",
    GROQ_KEY: "https://api.groq.com/openai/v1",
}
COMPLETION_LIMIT = (OPENAI_KEY, CEREBRAS_KEY, GROQ_KEY)  # know `max_completion_tokens`
ALIVE = Progress()

log = structlog.get_logger("llm.chat")

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class ChatOptions(BaseModel):
    """model: of the server's. max_tokens: of the reply. timeout: seconds without a byte. extra: further fields.

    reasoning_effort: of a model that reasons; `low` is heard as a shorter pause. The vendor refuses values that its
    model lacks. base_url: at most servers it ends in /v1. None is the operator's URL, else the vendor's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None  # some models refuse any
    max_tokens: Annotated[int, Field(ge=1, le=4_000)] = 1_000
    reasoning_effort: ReasoningEffort | None = None
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

    def __init__(self, endpoint: Endpoint, client: StreamClient, options: ChatOptions, vendor: str) -> None:
        """vendor: the variable of the vendor whose API this server speaks, "" for a server of another maker."""
        self.model = options.model
        self._endpoint = endpoint
        self._client = client
        self._options = options
        self._vendor = vendor

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the items of the reply as the server streams them. Raises ProviderError."""
        chunks, decoder = ChatChunks(), SseDecoder()
        headers = {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        url = f"{self._endpoint.url}/chat/completions"
        try:
            async with await self._client.post(url, msgspec.json.encode(self._body(request)), headers) as response:
                if response.content_type == "application/json":  # a server that does not stream
                    for item in chunks.feed((await read(response, MAX_EVENT)).decode(errors="replace")):
                        yield item
                else:
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
        body: dict[str, object] = {
            "model": options.model,
            "messages": chat_messages(request),
            "stream": True,
            # OpenAI's newer models know only the first name, most other servers only the second.
            "max_completion_tokens" if self._vendor in COMPLETION_LIMIT else "max_tokens": options.max_tokens,
        }
        if self._vendor:  # other servers may refuse the field, or count without it
            body["stream_options"] = {"include_usage": True}
        if self._vendor == OPENAI_KEY:  # requests with one beginning reach the machine that has it in its cache
            body["prompt_cache_key"] = hashlib.sha256(standing_instructions(request).encode()).hexdigest()[:32]
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if options.reasoning_effort is not None:
            body["reasoning_effort"] = options.reasoning_effort
        if request.tools:
            body["tools"] = [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in request.tools]
        return {**body, **options.extra}


class ChatVendor:
    """The connections of one worker, kept open between calls so that no reply waits for a handshake.

    variable: of the vendor's key. speaks: the variable whose API every URL speaks; "" lets the host decide.
    """

    capacity = None
    capabilities = Capabilities(usage=True, tools=True)

    def __init__(self, http: VendorHttp, variable: str, options: type[ChatOptions], speaks: str) -> None:
        self._http = http
        self._variable = variable
        self._options = options
        self._speaks = speaks

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[LanguageModel]:
        """Raises ProviderMissing that names the variable if the vendor needs a key and there is none."""
        chosen = parse_options(self._options, options)
        endpoint = await self._http.endpoint(self._variable, chosen.base_url)
        homes = {origin(url): variable for variable, url in HOMES.items()}
        async with warmed(endpoint) as warming:
            client = StreamClient(endpoint, self._http.key_name(endpoint.url), chosen.timeout_s, warming)
            yield Chat(endpoint, client, chosen, self._speaks or homes.get(origin(endpoint.url), ""))


@asynccontextmanager
async def open_chat(
    context: ProviderContext, variable: str, options: type[ChatOptions], *, speaks: str = ""
) -> AsyncIterator[ChatVendor]:
    """Open the connection pools of one vendor; connects nowhere yet: each agent document names its server."""
    async with open_http(context, HOMES) as http:
        yield ChatVendor(http, variable, options, speaks)
