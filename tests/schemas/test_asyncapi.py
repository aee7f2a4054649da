"""docs/asyncapi.json is a document that tools of others can read, and what it tells is so."""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from docs import asyncapi, channels, fields, generate
from schemas import control, events, media, subjects
from tests.kit import npm
from tests.schemas import samples

HERE = Path(__file__).parent
DOCUMENT: dict[str, Any] = json.loads((generate.FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


# --- as a document ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> jsonschema.Draft7Validator:
    """The official schema of such documents, as its authors publish it."""
    folder = tmp_path_factory.mktemp("asyncapi")
    for file in (HERE / "asyncapi").glob("package*.json"):
        shutil.copy(file, folder)
    npm.ci(folder)
    schema = folder / "node_modules" / "@asyncapi" / "specs" / "schemas" / f"{asyncapi.SPECIFICATION}.json"
    return jsonschema.Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))


@npm.needs_node
def test_it_is_valid_by_the_official_schema(specification: jsonschema.Draft7Validator) -> None:
    assert [f"{error.json_path}: {error.message}" for error in specification.iter_errors(DOCUMENT)] == []


@npm.needs_node
def test_the_official_schema_would_notice(specification: jsonschema.Draft7Validator) -> None:
    wrong = json.loads(asyncapi.text())
    wrong["operations"]["stt.publishes_event"]["action"] = "shout"
    [error] = specification.iter_errors(wrong)
    assert error.json_path == "$.operations['stt.publishes_event']"


def references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    wanted = set(references(DOCUMENT))
    assert len(wanted) > 60
    for reference in wanted:
        there = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            there = there[step]


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - {"Frame"}))  # audio has its prefix, and no schema
def test_an_example_is_what_its_schema_says(name: str) -> None:
    message = MESSAGES[name]
    schema = {**SCHEMAS[message["payload"]["$ref"].rpartition("/")[2]], "components": {"schemas": SCHEMAS}}
    jsonschema.Draft7Validator.check_schema(schema)
    [example] = message["examples"]
    jsonschema.Draft7Validator(schema).validate(example["payload"])
    for field in schema["required"]:
        torn = {key: value for key, value in example["payload"].items() if key != field}
        with pytest.raises(jsonschema.ValidationError, match=field):
            jsonschema.Draft7Validator(schema).validate(torn)


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_everything_that_is_said_is_in_it() -> None:
    asked = {name.partition(".")[2] for name in (*samples.CONTROLS, *samples.REQUESTS)}
    lines = {"AgentLine", "VersionLine", "CampaignLine", "NumberLine", "FieldOrigin"}
    parts = {"Playhead", "RoomAccess", "WorkerSession", "BreakerKey", *lines}  # of messages, none of their own
    assert set(MESSAGES) == set(samples.sample_events()) | (asked - parts) | {"Frame"}
    assert parts <= set(SCHEMAS)


@pytest.mark.parametrize("event", events.EVENTS, ids=events.tag)
def test_a_fact_has_one_speaker_one_place_and_an_example_that_we_understand(event: type[events.Event]) -> None:
    tag = events.tag(event)
    plane = "ephemeral" if event in events.EPHEMERAL else "event"
    here = f"#/channels/{plane}/messages/{tag}"
    saying = [name for name, does in DOCUMENT["operations"].items() if {"$ref": here} in does["messages"]]
    follows = "follows_ephemerals" if plane == "ephemeral" else "follows_calls"
    assert sorted(saying) == sorted([f"{events.stage(event)}.publishes_{plane}", f"subscriber.{follows}"])
    assert MESSAGES[tag]["contentType"] == channels.MSGPACK
    [example] = MESSAGES[tag]["examples"]
    assert type(events.decode(msgspec.msgpack.encode(example["payload"]))) is event


def test_addresses_are_the_subjects_that_are_used() -> None:
    ids = {name: f"a-{name}" for name in channels.PARAMETERS} | {"stage": "stt", "event": "speech_ended"}
    used = {
        "event": subjects.event("a-agent", "a-session", "stt.speech_ended"),
        "ephemeral": subjects.ephemeral("a-agent", "a-session", "stt.speech_ended"),
        "media": subjects.media("a-worker", "a-session"),
        "control": subjects.control("a-session", "stt", "a-verb"),
        "claim": subjects.claim("stt"),
        "heartbeat": subjects.heartbeat("a-coordinator", "a-worker"),
        "worker": subjects.worker("a-worker"),
        "config": subjects.config("a-verb"),
        "room": subjects.room_token("a-room", "a-verb"),
        "webhook": subjects.webhook(),
        "breaker": subjects.breaker_changed(),
        "reply": None,  # an inbox has no name of its own
    }
    told = {name: channel["address"] for name, channel in DOCUMENT["channels"].items()}
    assert {name: address and address.format(**ids) for name, address in told.items()} == used
    for channel in DOCUMENT["channels"].values():
        assert all(f"{{{name}}}" in channel["address"] for name in channel.get("parameters", ()))


def test_audio_can_be_read_by_what_it_tells_of_the_prefix() -> None:
    letters = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    told = MESSAGES["Frame"]["x-prefix"]
    for frame in samples.FRAMES.values():
        data = media.encode(frame)
        read = {row["field"]: struct.unpack_from("<" + letters[row["type"]], data, row["offset"])[0] for row in told}
        assert read.pop("version") == media.VERSION
        assert media.Frame(pcm=data[media.PREFIX_BYTES :], **read) == frame
    assert MESSAGES["Frame"]["x-flags"] == {str(flag.name).lower(): flag.value for flag in media.Flag}
    assert "| 20 | u64 | at |" in MESSAGES["Frame"]["description"]


def test_numbers_say_what_they_count() -> None:
    assert SCHEMAS["SpeechEnded"]["properties"]["until_sample"]["x-unit"] == "sample of the caller's line"
    assert SCHEMAS["SpeechEnded"]["properties"]["silence_ms"]["x-unit"] == "ms"
    assert SCHEMAS["WorkerSession"]["properties"]["age_s"]["x-unit"] == "s"
    assert SCHEMAS["SpeechEnded"]["properties"]["time"]["x-unit"] == "UTC microseconds"
    assert "x-unit" not in SCHEMAS["SpeechEnded"]["properties"]["utterance"]


def test_a_field_without_an_example_is_told_to_whoever_adds_it() -> None:
    hummed = msgspec.defstruct("Hummed", [("melody", str), ("key", str, "C")])
    with pytest.raises(LookupError, match=r"`melody` of Hummed has no example: write one into docs/fields\.py"):
        fields.example(hummed)


def test_the_versions_agree() -> None:
    assert DOCUMENT["info"]["version"] == f"{control.VERSION}.0.0"
    assert f"va{control.VERSION}" == subjects.ROOT
