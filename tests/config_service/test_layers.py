"""Which layer wins, which variable names which field, and where a field comes from."""

from typing import Any

import pytest

from config_service.documents import BadDocument
from config_service.layers import Layers, read_environment
from schemas.agent import AgentDocument, Turns
from schemas.config import FieldOrigin


def test_each_layer_wins_over_those_below() -> None:
    environment = read_environment(
        {
            "ANTIPHON_DEFAULT_GREETING": "From the environment.",
            "ANTIPHON_DEFAULT_PROMPT": "Be brief.",
            "ANTIPHON_DEFAULT_TURNS_MIN_DELAY_MS": "200",
            "ANTIPHON_DEFAULT_TURNS_PREEMPTIVE_GENERATION": "false",
            "ANTIPHON_DEFAULT_LLM": '{"provider": "openai", "options": {"model": "m"}}',
            "ANTIPHON_DEFAULT_FACTS": '["We open at nine."]',
            "ANTIPHON_DATA": "no default of an agent",
        }
    )
    agent = {"id": "desk", "prompt": "Be kind.", "greeting": "Hello", "turns": {"max_delay_ms": 2_500}}
    campaign = {"greeting": None, "turns": {"min_delay_ms": 100}}
    layers = Layers(environment, agent, campaign)
    document = layers.resolved()
    assert document.greeting == ""
    assert document.prompt == "Be kind."
    assert document.turns == Turns(min_delay_ms=100, preemptive_generation=False)
    assert (document.llm.provider, document.llm.options) == ("openai", {"model": "m"})
    assert [fact.text for fact in document.facts] == ["We open at nine."]
    origins = {field.path: field.origin for field in layers.explained()}
    assert "greeting" not in origins  # taken away: the default of a document counts
    assert origins["prompt"] == "agent"
    assert origins["turns.max_delay_ms"] == "agent"  # though it is the default: its author set it
    assert origins["turns.min_delay_ms"] == "campaign"
    assert origins["turns.preemptive_generation"] == "environment"
    assert origins["llm.options.model"] == "environment"
    assert origins["tts.provider"] == "default"
    assert FieldOrigin("prompt", "Be kind.", "agent") in layers.explained()


def test_an_explicit_default_of_an_agent_wins_over_the_environment() -> None:
    environment = read_environment({"ANTIPHON_DEFAULT_TURNS_MIN_DELAY_MS": "200"})
    default = AgentDocument(id="desk").turns.min_delay_ms
    assert Layers(environment, {"id": "desk", "turns": {"min_delay_ms": default}}, {}).resolved().turns == Turns()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ANTIPHON_DEFAULT_GRETING": "x"}, "cannot use ANTIPHON_DEFAULT_GRETING.*mean ANTIPHON_DEFAULT_GREETING"),
        ({"ANTIPHON_DEFAULT_ID": "x"}, "cannot use ANTIPHON_DEFAULT_ID: it names no field"),
        ({"ANTIPHON_DEFAULT_TURNS_MIN_DELAY_MS": "soon"}, "ANTIPHON_DEFAULT_TURNS_MIN_DELAY_MS: turns.min_delay_ms"),
        ({"ANTIPHON_DEFAULT_FACTS": "[1"}, "cannot use ANTIPHON_DEFAULT_FACTS: facts"),
    ],
)
def test_a_wrong_variable_is_named(variables: dict[str, str], told: str) -> None:
    with pytest.raises(BadDocument, match=told):
        read_environment(variables)


def test_without_variables_there_is_no_layer() -> None:
    layer: dict[str, Any] = read_environment({"PATH": "/bin", "ANTIPHON_NATS_URL": "nats://x"})
    assert layer == {}
