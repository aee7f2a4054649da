"""Models that end: the data is whole, and agents that name one are warned of."""

from datetime import date

import pytest

from config_service.model_catalogue import catalogue, warning, warnings
from schemas.agent import AgentDocument
from stages.runtime.providers import names

TODAY = date(2026, 11, 29)


@pytest.mark.parametrize(
    ("stage", "choice", "line"),
    [
        ("llm", "openai/gpt-4o", "llm openai/gpt-4o ends on 2027-01-14: use gpt-6-luna"),
        ("llm", "openai/gpt-4o-2024-08-06", "llm openai/gpt-4o-2024-08-06 ends on 2027-01-14: use gpt-6-luna"),
        (
            "llm",
            "groq/llama-3.1-8b-instant",
            "llm groq/llama-3.1-8b-instant ended on 2026-08-16: use openai/gpt-oss-20b",
        ),
        ("llm", "openai/gpt-5.1", ""),  # ends in more than 60 days
        ("llm", "openai/gpt-5.4-mini", ""),
        ("llm", "openai", ""),
        ("llm", "nobody/gpt-4o", ""),
        ("stt", "openai/gpt-4o", ""),
    ],
)
def test_a_model_is_warned_of_from_60_days_before_its_end(stage: str, choice: str, line: str) -> None:
    assert warning(stage, choice, TODAY) == line


def test_the_day_decides() -> None:
    assert warning("stt", "openai/whisper-1", date(2026, 12, 27)) == ""
    assert "ends on" in warning("stt", "openai/whisper-1", date(2026, 12, 28))
    assert "ended on" in warning("stt", "openai/whisper-1", date(2027, 2, 26))


def test_fallbacks_are_looked_at() -> None:
    document = AgentDocument.model_validate(
        {"id": "desk", "llm": {"provider": "local", "fallback": ["openai/gpt-4o"]}, "tts": "openai/tts-1"}
    )
    assert [line.split()[1] for line in warnings(document, TODAY)] == ["openai/gpt-4o", "openai/tts-1"]


def test_every_provider_has_a_source_and_every_replacement_lives() -> None:
    known = catalogue()
    for stage, providers in known.ends.items():
        assert stage in ("stt", "llm", "tts")
        for provider, models in providers.items():
            assert provider in known.sources
            assert all(end.use not in models for end in models.values())
    assert set(known.ends["llm"]) <= set(names("llm"))
    assert all(source.url.startswith("https://") for source in known.sources.values())
