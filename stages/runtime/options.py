"""The options with which a session opens a provider: its own from the agent document, and the agent's language.

Adapters share these names for options, each where its vendor has one: `model`, `voice`, `language`, `speed`,
`key_terms` (words that the recognizer should expect), `pronunciations` (word -> how the voice says it).
"""

from typing import Annotated, Any

from pydantic import AfterValidator

from schemas.agent import AgentDocument, ProviderChoice
from stages.runtime.providers import AGENT_LANGUAGE


def session_options(agent: AgentDocument, choice: ProviderChoice) -> dict[str, Any]:
    """Return the argument of a provider's `open`. `parse_options` takes the agent's language out of it.

    An adapter that declares an option `language` gets the agent's language in it, unless the document names another
    one in the provider's own options. An adapter without that option never sees the language.
    Any: options are those of the document, which the adapter checks.
    """
    return {**choice.options, AGENT_LANGUAGE: agent.language}


def is_english(language: str) -> bool:
    """Return whether a code such as "en-GB" stands for English; `multi` does not."""
    return language.partition("-")[0].lower() == "en"


def _english(language: str) -> str:
    if not is_english(language):
        raise ValueError(f"this provider speaks English only, not {language!r}. Choose another provider.")
    return language


English = Annotated[str, AfterValidator(_english)]  # the option `language` of a provider that knows no other
