"""Agents for tests are valid documents."""

import pytest
from pydantic import ValidationError

from antiphon_testing.agents import listening_agent, scripted_agent


def test_every_provider_of_a_scripted_agent_is_scripted() -> None:
    agent = scripted_agent("desk", greeting="Hello.", llm={"replies": ["Yes."]})
    assert (agent.id, agent.greeting) == ("desk", "Hello.")
    assert {kind.provider for kind in (agent.stt, agent.llm, agent.tts)} == {"scripted"}
    assert agent.llm.options == {"replies": ["Yes."]}


def test_a_listening_agent_uses_the_default_recognizer() -> None:
    agent = listening_agent("desk", "Yes.", "No.")
    assert agent.stt.provider != "scripted"
    assert agent.llm.options == {"replies": ["Yes.", "No."]}


def test_a_field_that_documents_do_not_have_is_refused() -> None:
    with pytest.raises(ValidationError):
        scripted_agent("desk", grating="Hello.")
