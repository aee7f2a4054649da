"""The metadata of a room, good or bad."""

import json

import pytest

from schemas.events import MetadataProblem, MetadataRefused
from transports.livekit.metadata import FIELDS, read_metadata

GOOD = {"agent_id": "desk", "campaign_id": "spring", "lead_id": "lead:7", "phone_number": "+49 30 123456"}


def refused(*pairs: tuple[MetadataProblem, str]) -> tuple[MetadataRefused, ...]:
    return tuple(MetadataRefused(reason=reason, field=field) for reason, field in pairs)


def test_a_room_says_whom_it_wants_and_why() -> None:
    told = read_metadata("", json.dumps(GOOD))
    assert (told.agent, told.refused) == ("desk", ())
    assert told.origin("lobby").room == "lobby"
    assert told.fields == {name: GOOD[name] for name in FIELDS}


def test_what_the_job_says_goes_before_what_its_room_says() -> None:
    assert read_metadata(json.dumps({"agent_id": "of-the-job"}), json.dumps(GOOD)).agent == "of-the-job"
    assert read_metadata("  ", json.dumps(GOOD)).agent == "desk"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing"),
        ("receptionist", "not_json"),
        ('{"agent_id": "desk"', "not_json"),
        ("[" * 10_000, "not_json"),
        ('{"a":' * 10_000, "not_json"),
        ("\ud800", "not_json"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ('"desk"', "not_an_object"),
        ("7", "not_an_object"),
        (json.dumps({**GOOD, "more": "x" * 1_000_000}), "too_long"),
        (json.dumps({**GOOD, "more": "ü" * 40_000}, ensure_ascii=False), "too_long"),
    ],
)
def test_bad_metadata_as_a_whole_leaves_the_default_agent(text: str, reason: MetadataProblem) -> None:
    told = read_metadata(text, "")
    assert (told.agent, told.fields, told.refused) == ("", {}, refused((reason, "")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agent_id": None}, ("missing", "agent_id")),
        ({"agent_id": ""}, ("missing", "agent_id")),
        ({"agent_id": 7}, ("wrong_type", "agent_id")),
        ({"agent_id": ["desk"]}, ("wrong_type", "agent_id")),
        ({"agent_id": "../desk"}, ("bad_value", "agent_id")),
        ({"agent_id": ">"}, ("bad_value", "agent_id")),
        ({"agent_id": "d" * 65}, ("bad_value", "agent_id")),
    ],
)
def test_a_bad_agent_leaves_the_default_one_and_the_rest_of_what_was_said(
    changes: dict[str, object], reason: tuple[MetadataProblem, str]
) -> None:
    told = read_metadata(json.dumps({**GOOD, **changes}), "")
    assert (told.agent, told.refused) == ("", refused(reason))
    assert set(told.fields) == set(FIELDS)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("campaign_id", 7, "wrong_type"),
        ("lead_id", {"id": 1}, "wrong_type"),
        ("phone_number", 493012345, "wrong_type"),
        ("phone_number", "1\n2", "bad_value"),
        ("lead_id", "x" * 129, "bad_value"),
    ],
)
def test_a_bad_field_is_left_out_and_the_agent_answers(field: str, value: object, reason: MetadataProblem) -> None:
    told = read_metadata(json.dumps({**GOOD, field: value}), "")
    assert (told.agent, told.refused) == ("desk", refused((reason, field)))
    assert set(told.fields) == set(FIELDS) - {field}


def test_fields_that_are_not_told_are_no_complaint() -> None:
    told = read_metadata('{"agent_id": "desk", "lead_id": null, "phone_number": "", "mood": [1]}', "")
    assert (told.agent, told.fields, told.refused) == ("desk", {}, ())
