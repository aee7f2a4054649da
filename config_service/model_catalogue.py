"""The models that vendors shut down, as data (models.toml), and the agents that still name one."""

import re
import tomllib
from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import msgspec

from schemas.agent import AgentDocument

FILE = Path(__file__).with_name("models.toml")
WARN_BEFORE = timedelta(days=60)  # long enough to try a replacement before callers notice

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")


class End(msgspec.Struct, frozen=True):
    """The end of a model. on: the first day without it. use: its replacement."""

    on: date
    use: str


class Source(msgspec.Struct, frozen=True):
    """Where a vendor announces ends, and when that page was read."""

    url: str
    read: date


class Catalogue(msgspec.Struct, frozen=True):
    """sources: by provider. ends: by stage, provider and model."""

    sources: dict[str, Source]
    ends: dict[str, dict[str, dict[str, End]]]


@cache
def catalogue() -> Catalogue:
    """Return the catalogue that this release holds."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), Catalogue)


def warning(stage: str, choice: str, today: date) -> str:
    """Return one line about `choice`, such as "openai/gpt-4o", if its model ends soon or has ended, else ""."""
    provider, _, model = choice.partition("/")
    models = catalogue().ends.get(stage, {}).get(provider, {})
    end = models.get(model) or models.get(_SNAPSHOT.sub("", model))
    if end is None or end.on - today > WARN_BEFORE:
        return ""
    return f"{stage} {choice} {'ended' if end.on <= today else 'ends'} on {end.on}: use {end.use}"


def warnings(document: AgentDocument, today: date) -> list[str]:
    """Return the warnings about all providers of `document`, and about its fallbacks."""
    chosen: Iterable[tuple[str, str]] = (
        (stage, choice.name)
        for stage, first in (("stt", document.stt), ("llm", document.llm), ("tts", document.tts))
        for choice in first.chain
    )
    return [line for stage, name in chosen if (line := warning(stage, name, today))]
