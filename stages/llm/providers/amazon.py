"""Claude and other models on Amazon Bedrock, by ConverseStream.

Of botocore, the signer and the parser of event streams. Its HTTP blocks a thread for each reply and reads files and
metadata servers for credentials: requests go through stages/llm/http_stream.py (decision 32).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer, ParserError
from botocore.exceptions import EventStreamError
from pydantic import BaseModel, ConfigDict, Field

from schemas.provider_keys import AWS_ACCESS_KEY_ID, AWS_BEARER_TOKEN, AWS_SECRET_KEY, AWS_SESSION_TOKEN
from stages.llm.bedrock_events import BedrockEvents
from stages.llm.contract import SILENT_S, Capabilities, ReplyItem, ReplyRequest
from stages.llm.http_stream import BROKEN, StreamClient, broken, received
from stages.llm.prompt import begun_by_caller, spoken_messages, standing_instructions, turn_instructions
from stages.runtime.providers import ProviderContext, ProviderError, parse_options
from stages.runtime.vendor_http import Endpoint, VendorHttp, open_http, warmed

REGION = "us-east-1"  # where neither the document nor AWS_REGION names one


class Options(BaseModel):
    """model: an id or an inference profile. region: of AWS; None is the worker's AWS_REGION. timeout: as elsewhere.

    cache: ask Bedrock to cache the instructions; models that cannot refuse the request. extra: fields of the model's
    own (`additionalModelRequestFields`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1)] = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=4_000)] = 1_000
    cache: bool = True
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=SILENT_S, alias="timeout")] = SILENT_S
    extra: dict[str, Any] = {}  # Any: fields of the model's own, which pass through as they are


class Converse:
    """The model of one session. credentials: to sign with; None where the key is a bearer token."""

    def __init__(
        self, endpoint: Endpoint, client: StreamClient, options: Options, region: str, credentials: Credentials | None
    ) -> None:
        self.model = options.model
        self._endpoint = endpoint
        self._client = client
        self._options = options
        self._region = region
        self._credentials = credentials

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyItem, None]:
        """Yield the items of the reply as Bedrock streams them. Raises ProviderError."""
        events, buffer = BedrockEvents(), EventStreamBuffer()
        url = f"{self._endpoint.url}/model/{quote(self.model, safe='')}/converse-stream"
        body = msgspec.json.encode(self._body(request))
        try:
            async with await self._client.post(url, body, self._headers(url, body)) as response:
                async for piece in received(response, lambda: events.complete):
                    buffer.add_data(piece)
                    for event in buffer:
                        for item in events.feed(event.headers, event.payload):
                            yield item
        except BROKEN as error:
            raise broken(error) from None  # the original may hold the caller's words
        except (ParserError, EventStreamError):
            raise ProviderError("server", "the stream holds bytes that are no event", retryable=True) from None
        for item in events.end():
            yield item

    def _headers(self, url: str, body: bytes) -> Mapping[str, str]:
        if self._credentials is None:
            return {"Authorization": f"Bearer {self._endpoint.key}"} if self._endpoint.key else {}
        signed = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(self._credentials, "bedrock", self._region).add_auth(signed)
        return dict(signed.headers.items())

    def _body(self, request: ReplyRequest) -> dict[str, object]:
        options = self._options
        limits: dict[str, object] = {"maxTokens": options.max_tokens}
        if options.temperature is not None:
            limits["temperature"] = options.temperature
        standing: list[dict[str, object]] = [{"text": standing_instructions(request)}]
        if options.cache:
            standing.append({"cachePoint": {"type": "default"}})
        body: dict[str, object] = {
            "system": [*standing, {"text": turn_instructions(request)}],
            "messages": [
                {"role": message.role, "content": [{"text": message.content}]}
                for message in begun_by_caller(spoken_messages(request))
            ],
            "inferenceConfig": limits,
        }
        if request.tools:
            body["toolConfig"] = {
                "tools": [
                    {
                        "toolSpec": {
                            "name": tool.name,
                            "description": tool.description,
                            "inputSchema": {"json": tool.parameters},
                        }
                    }
                    for tool in request.tools
                ]
            }
        if options.extra:
            body["additionalModelRequestFields"] = options.extra
        return body


class Amazon:
    """The connections of one worker to Bedrock."""

    capacity = None
    capabilities = Capabilities(usage=True, tools=True)

    def __init__(self, http: VendorHttp, context: ProviderContext) -> None:
        self._http = http
        self._keys = context.keys

    @asynccontextmanager
    async def open(self, options: dict[str, Any]) -> AsyncIterator[Converse]:
        """Raises ProviderMissing that names the variable if there is no key."""
        chosen = parse_options(Options, options)
        region = chosen.region or self._keys.aws_region or REGION
        home = f"https://bedrock-runtime.{region}.amazonaws.com"
        http = self._http.at({AWS_BEARER_TOKEN: home, AWS_SECRET_KEY: home})
        endpoint = await http.endpoint(AWS_BEARER_TOKEN, chosen.base_url)
        key_name = http.key_name(endpoint.url)
        credentials = self._credentials(endpoint.key) if key_name == AWS_SECRET_KEY and endpoint.key else None
        async with warmed(endpoint) as warming:
            client = StreamClient(endpoint, key_name, chosen.timeout_s, warming)
            yield Converse(endpoint, client, chosen, region, credentials)

    def _credentials(self, secret: str) -> Credentials:
        names = (AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN)
        key_id, token = (found.get_secret_value() if (found := self._keys.values.get(name)) else None for name in names)
        if not key_id:
            raise ProviderError("auth", f"{AWS_SECRET_KEY} is set and {AWS_ACCESS_KEY_ID} is not: set both")
        return Credentials(key_id, secret, token)


@asynccontextmanager
async def open_provider(context: ProviderContext) -> AsyncIterator[Amazon]:
    """Open the connection pools."""
    async with open_http(context, {}) as http:
        yield Amazon(http, context)
