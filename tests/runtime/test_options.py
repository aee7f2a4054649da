"""The options with which a session opens a provider: the agent's language reaches those that have that option."""

import re
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from schemas.agent import AgentDocument, ProviderChoice
from stages.runtime.options import English, session_options
from stages.runtime.providers import ProviderError, parse_options


class Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "small"


class Spoken(Plain):
    language: str = "en"


class EnglishOnly(Plain):
    language: English = "en"


def options(agent_language: str, /, **own: Any) -> dict[str, Any]:
    return session_options(AgentDocument(id="desk", language=agent_language), ProviderChoice(options=own))


def test_a_provider_gets_the_language_of_the_agent() -> None:
    assert parse_options(Spoken, options("de-AT", model="large")) == Spoken(model="large", language="de-AT")


def test_a_provider_s_own_language_wins() -> None:
    assert parse_options(Spoken, options("de", language="multi")).language == "multi"


def test_a_provider_without_a_language_never_sees_it() -> None:
    assert parse_options(Plain, options("de")) == Plain()


def test_a_document_that_names_a_language_where_there_is_none_is_refused() -> None:
    with pytest.raises(ProviderError, match="option language: Extra inputs are not permitted"):
        parse_options(Plain, options("de", language="de"))


@pytest.mark.parametrize("language", ["en", "en-GB"])
def test_english_is_taken_in_every_region(language: str) -> None:
    assert parse_options(EnglishOnly, options(language)).language == language


@pytest.mark.parametrize("language", ["de", "multi", "enm"])
def test_another_language_is_refused_where_only_english_is_known(language: str) -> None:
    told = f"option language: this provider speaks English only, not '{language}'. Choose another provider."
    with pytest.raises(ProviderError, match=re.escape(told)):
        parse_options(EnglishOnly, options(language))
