"""The document that a person writes about an agent, and that the config service stores."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from schemas.subjects import check_id

DEFAULT_PROMPT = "You are a helpful receptionist. Answer in one short sentence."
MAX_PROMPT = 20_000  # characters; a longer one is a knowledge base, not a prompt
MAX_FACTS = 500
MAX_NAME = 80  # characters; one line of a list


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderChoice(_Document):
    """A provider's name and its own options, which the provider checks when a call opens."""

    provider: str = "local"
    options: dict[str, Any] = {}

    @field_validator("provider")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_id(value, "provider")


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
    """

    min_delay_ms: Annotated[int, Field(ge=0, le=10_000)] = 300
    max_delay_ms: Annotated[int, Field(ge=0, le=30_000)] = 2_500
    preemptive_generation: Annotated[bool, _or_old_name("preemptive_generation", "think_ahead")] = True
    interrupt_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 500
    resume_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 400
    decide_within_ms: Annotated[int, Field(ge=100, le=30_000)] = 2_000


class AgentDocument(_Document):
    """An agent. `facts` may be plain strings or {text, asks}.

    name: what people see in place of the id. description: for the people who choose an agent; no model reads it.
    """

    id: str
    name: Annotated[str, Field(max_length=MAX_NAME)] = ""
    description: Annotated[str, Field(max_length=2_000)] = ""
    prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = DEFAULT_PROMPT
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

    @field_validator("facts", mode="before")
    @classmethod
    def _plain_strings(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [fact if isinstance(fact, dict | AgentFact) else {"text": fact} for fact in value]
        return value
