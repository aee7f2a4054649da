"""Vendors' own clients talk to the stand-ins: a stand-in is not merely the mirror of our adapter."""

from typing import Any

import pytest

from antiphon_testing.vendors.chat_wire import CHAT
from antiphon_testing.vendors.faults import Refuse
from antiphon_testing.vendors.language_model_server import Reply, ScriptedCall, language_model_server

REPLY = Reply(("We ", "open."), thoughts=("Hm.",), calls=(ScriptedCall("book", '{"at": "nine"}'),))
ASKED = [{"role": "user", "content": "When do you open?"}]


async def test_openai() -> None:
    openai: Any = pytest.importorskip("openai", reason="OpenAI's SDK is not installed")  # Any: no dependency of ours
    async with (
        language_model_server(CHAT) as server,
        openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0) as client,
    ):
        server.reply = REPLY
        stream = await client.chat.completions.create(
            model="m", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        calls = [call for delta in deltas for call in delta.tool_calls or ()]
        assert "".join(delta.content or "" for delta in deltas) == "We open."
        assert "".join(call.function.arguments for call in calls) == '{"at": "nine"}'
        assert (calls[0].id, calls[0].function.name) == ("call_0", "book")
        assert chunks[-2].choices[0].finish_reason == "tool_calls"
        assert chunks[-1].usage.prompt_tokens_details.cached_tokens == REPLY.cached_tokens

        server.faults.queue(Refuse(429, retry_after_s=2, code="rate_limit_exceeded"), Refuse(401))
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="m", messages=ASKED)
        assert (caught.value.code, caught.value.response.headers["Retry-After"]) == ("rate_limit_exceeded", "2")
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="m", messages=ASKED)
