"""Cerebras: chat completions (https://inference-docs.cerebras.ai/api-reference/chat-completions)."""

from contextlib import AbstractAsyncContextManager

from stages.llm.chat_client import CEREBRAS_KEY, ChatOptions, ChatVendor, open_chat
from stages.runtime.providers import ProviderContext


class Options(ChatOptions):
    """The options of chat completions."""

    model: str = "gpt-oss-120b"


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ChatVendor]:
    """Open the connections to Cerebras."""
    return open_chat(context, CEREBRAS_KEY, Options, speaks=CEREBRAS_KEY)
