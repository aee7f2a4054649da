"""What a person writes about an agent: the document that the config service stores."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.subjects import check_id

DEFAULT_PROMPT = "You are a helpful receptionist. Answer in one short sentence."
MAX_PROMPT = 20_000  # characters; a longer one is a knowledge base, not a prompt
MAX_FACTS = 500


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderChoice(_Document):
    """Which provider, and its own options (checked by the provider)."""

    provider: str = "local"
    options: dict[str, Any] = {}

    @field_validator("provider")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_id(value, "provider")


class AgentFact(_Document):
    """One thing the agent knows. text: as it may be spoken. asks: how people ask for it, in their words."""

    text: Annotated[str, Field(min_length=1, max_length=2_000)]
    asks: list[str] = []


class Turns(_Document):
    """Turn taking, in milliseconds. The defaults suit a phone call; see docs for what each costs."""

    min_delay_ms: Annotated[int, Field(ge=0, le=10_000)] = 300  # silence after words judged complete
    max_delay_ms: Annotated[int, Field(ge=0, le=30_000)] = 2_500  # silence after words judged unfinished
    think_ahead: bool = True  # the model begins in that silence; what the caller adds costs a reply that nobody hears
    interrupt_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 500  # speech this long is no cough
    resume_after_ms: Annotated[int, Field(ge=0, le=10_000)] = 400  # wordless: after speech_ended, at least
    decide_within_ms: Annotated[int, Field(ge=100, le=30_000)] = 2_000  # a hold without a decision ends here


class AgentDocument(_Document):
    """An agent. `facts` may be plain strings or {text, asks}."""

    id: str
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
