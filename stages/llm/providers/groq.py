"""Groq: chat completions (https://console.groq.com/docs/api-reference), with token counts in a field of its own."""

from contextlib import AbstractAsyncContextManager

from stages.llm.chat_client import GROQ_KEY, ChatOptions, ChatVendor, open_chat
from stages.runtime.providers import ProviderContext


class Options(ChatOptions):
    """The options of chat completions. model: with its maker's name, as Groq lists it."""

    model: str = "openai/gpt-oss-120b"


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ChatVendor]:
    """Open the connections to Groq."""
    return open_chat(context, GROQ_KEY, Options, speaks=GROQ_KEY)
