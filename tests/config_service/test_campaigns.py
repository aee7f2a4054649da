"""Campaigns and numbers as people write them: what is taken, and what is refused by its field."""

from typing import Any

import pytest

from config_service.campaigns import apply, parse_campaign, parse_number
from config_service.documents import BadDocument
from config_service.files import bundle_bytes


def overrides(**values: Any) -> dict[str, Any]:
    return parse_campaign({"agent": "desk", "campaign": "summer", "overrides": values}).overrides


def test_overrides_are_stored_as_agents_are() -> None:
    assert overrides(turns={"think_ahead": False}) == {"turns": {"preemptive_generation": False}}
    assert overrides(facts=["Open."]) == {"facts": [{"text": "Open."}]}
    assert overrides(greeting=None, turns={"min_delay_ms": None}) == {"greeting": None, "turns": {"min_delay_ms": None}}


def test_a_null_gives_the_default_back() -> None:
    agent = {"id": "desk", "greeting": "Hi", "turns": {"min_delay_ms": 100, "max_delay_ms": 900}}
    document = apply(agent, "summer", overrides(greeting=None, turns={"min_delay_ms": None}))
    assert (document.greeting, document.turns.min_delay_ms, document.turns.max_delay_ms) == ("", 300, 900)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"greeting": 5}, "greeting: Input should be a valid string"),
        ({"mood": "grim"}, "mood: Extra inputs are not permitted"),
        ({"mood": None}, "there is no field 'mood' to take away"),
        ({"turns": {"mood": None}}, "there is no field 'mood' to take away"),
        ({"id": "shop"}, "a campaign cannot change the id"),
        ({"turns": {"min_delay_ms": -1}}, "turns.min_delay_ms: Input should be greater"),
        ({"greeting": "x" * 2_001}, "greeting: String should have at most 2000"),
    ],
)
def test_wrong_overrides_name_the_campaign_and_the_field(written: dict[str, Any], told: str) -> None:
    with pytest.raises(BadDocument, match=f"campaign summer of desk: .*{told}"):
        overrides(**written)


@pytest.mark.parametrize(
    "number",
    ["", "5551234567", "+0551234567", "+1 555 123", "+1555123456789012", "+15551234567\n", "+\uff11\uff15551234567"],
)
def test_a_number_is_written_in_full(number: str) -> None:
    with pytest.raises(BadDocument, match="is no phone number"):
        parse_number({"number": number, "agent": "desk"})


def test_a_wrong_line_of_a_file_is_named() -> None:
    text = b"id: desk\n---\nagent: desk\ncampaign: summer\noverrides:\n  greeting: Hi\n  turns:\n    min_delay_ms: -1\n"
    with pytest.raises(BadDocument, match=r"all\.yaml, line 8: campaign summer of desk: turns\.min_delay_ms"):
        bundle_bytes(text, "all.yaml")


def test_one_file_holds_agents_campaigns_and_numbers() -> None:
    text = b"id: desk\n---\n{agent: desk, campaign: summer}\n---\n{number: '+15551234567', agent: desk}\n"
    bundle = bundle_bytes(text, "all.yaml")
    assert [len(part) for part in bundle] == [1, 1, 1]
