"""The document that a person writes about an agent, and that the config service stores."""

import re
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.subjects import check_id

DEFAULT_PROMPT = "You are a helpful receptionist. Answer in one short sentence."
DEFAULT_LANGUAGE = "en"
MAX_PROMPT = 20_000  # characters; a longer one is a knowledge base, not a prompt
MAX_FACTS = 500
MAX_NAME = 80  # characters; one line of a list
MAX_FALLBACKS = 4  # each failed provider costs the caller a wait; a fifth backup would come too late to help
# Like BCP 47, such as "en" or "de-AT"; `multi` lets the recognizer detect the language.
_LANGUAGE = re.compile(r"(multi|[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4})\Z")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderChoice(_Document):
    """A provider's name and its own options, which the provider checks when a call opens.

    Also read from one text: `openai/gpt-5.4-mini` is the provider `openai` with the option `model`. The text splits at
    its first slash, because names of models hold slashes: `groq/openai/gpt-oss-120b`.

    fallback: the providers that take over, in this order, when one before them fails.
    """

    provider: str = "local"
    options: dict[str, Any] = {}
    fallback: Annotated[list["ProviderChoice"], Field(max_length=MAX_FALLBACKS)] = []

    @property
    def chain(self) -> tuple["ProviderChoice", ...]:
        """Return this choice and its fallbacks, the first to be used first."""
        return (self, *self.fallback)

    @property
    def name(self) -> str:
        """Return the choice as one text, such as `openai/gpt-5.4-mini`, without its other options."""
        model = self.options.get("model")
        return f"{self.provider}/{model}" if isinstance(model, str) and model else self.provider

    @property
    def names(self) -> str:
        """Return the names of the chain for people, such as `openai/gpt-5.4-mini > local`."""
        return " > ".join(choice.name for choice in self.chain)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        choice = {"provider": value} if isinstance(value, str) else value
        if not isinstance(choice, dict) or not isinstance(choice.get("provider"), str):
            return choice
        provider, slash, model = choice["provider"].partition("/")
        if not slash:
            return choice
        options = choice.get("options", {})
        if not (provider and model):
            raise ValueError(f"{choice['provider'][:80]!r} names no provider and model. Write openai/gpt-5.4-mini.")
        if not isinstance(options, dict):
            return choice | {"provider": provider}
        if "model" in options:
            raise ValueError("the model is named twice: behind the slash and in options. Keep one of them.")
        return choice | {"provider": provider, "options": {"model": model, **options}}

    @field_validator("provider")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_id(value, "provider")

    @field_validator("fallback")
    @classmethod
    def _is_flat(cls, value: list["ProviderChoice"]) -> list["ProviderChoice"]:
        if any(choice.fallback for choice in value):
            raise ValueError("a fallback has no fallback of its own. List all of them, the first to be used first.")
        return value


class AgentFact(_Document):
    """One fact that the agent knows. text: as it may be spoken. asks: how people ask for it, in their words."""

    text: Annotated[str, Field(min_length=1, max_length=2_000)]
    asks: list[str] = []


def _or_old_name(name: str, old: str) -> Any:
    """Accept a field by the name of an earlier version, too; it is written by its own name."""
    return Field(validation_alias=AliasChoices(name, old))


class Turns(_Document):
    """Turn taking, in milliseconds. The defaults suit a phone call; docs/configuration.md says what each costs.

    min_delay_ms: silence after words that are judged complete. max_delay_ms: after words judged unfinished.
    preemptive_generation: the model begins its reply in that silence; if the caller goes on, the reply is dropped.
    interrupt_after_ms: speech of this length is an interruption, not a cough. resume_after_ms: after a sound without
    words, the agent stays silent for at least this long. decide_within_ms: a hold without a decision ends here.
    notice_after_ms: a reply without words for this long is announced: "One moment, please."
    """

    min_delay_ms: Annotated[int, Field(ge=0, le=10_000)] = 300
    max_delay_ms: Annotated[int, Field(ge=0, le=30_000)] = 2_500
    preemptive_generation: Annotated[bool, _or_old_name("preemptive_generation", "think_ahead")] = True
    interrupt_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 500
    resume_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 400
    decide_within_ms: Annotated[int, Field(ge=100, le=30_000)] = 2_000
    notice_after_ms: Annotated[int, Field(ge=500, le=30_000)] = 3_000


class AgentDocument(_Document):
    """An agent. `facts` may be plain strings or {text, asks}.

    name: what people see in place of the id. description: for the people who choose an agent; no model reads it.
    language: of the call, such as "en" or "de-AT"; `multi` lets the recognizer detect it. Providers with an option
    `language` use this one unless their options name another.
    """

    id: str
    name: Annotated[str, Field(max_length=MAX_NAME)] = ""
    description: Annotated[str, Field(max_length=2_000)] = ""
    prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = DEFAULT_PROMPT
    language: str = DEFAULT_LANGUAGE
    greeting: Annotated[str, Field(max_length=2_000)] = ""
    facts: Annotated[list[AgentFact], Field(max_length=MAX_FACTS)] = []
    stt: ProviderChoice = ProviderChoice()
    llm: ProviderChoice = ProviderChoice()
    tts: ProviderChoice = ProviderChoice()
    turns: Turns = Turns()

    @field_validator("id")
    @classmethod
    def _is_id(cls, value: str) -> str:
        return check_id(value, "agent id")

    @field_validator("language")
    @classmethod
    def _is_language(cls, value: str) -> str:
        if not _LANGUAGE.match(value):
            raise ValueError(f"{value[:80]!r} is no code of a language. Write en, de-AT or multi.")
        return value

    @field_validator("facts", mode="before")
    @classmethod
    def _plain_strings(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [fact if isinstance(fact, dict | AgentFact) else {"text": fact} for fact in value]
        return value
