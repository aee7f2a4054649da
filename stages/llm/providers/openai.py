"""OpenAI, and with `base_url` every server that speaks its chat completions: vLLM, llama.cpp, Ollama, OpenRouter."""

from contextlib import AbstractAsyncContextManager

from stages.llm.chat_client import OPENAI_KEY, ChatOptions, ChatVendor, open_chat
from stages.runtime.providers import ProviderContext

KEY = OPENAI_KEY


class Options(ChatOptions):
    """The options of chat completions."""

    model: str = "gpt-5.4-mini"


def open_provider(context: ProviderContext) -> AbstractAsyncContextManager[ChatVendor]:
    """Open the connections to OpenAI and to the servers that documents name."""
    return open_chat(context, KEY, Options)
