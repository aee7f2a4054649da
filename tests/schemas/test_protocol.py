"""The committed protocol is the one the code speaks: a changed schema or golden sample is a visible change."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from docs import json_schemas
from schemas import control, events, media
from tests.schemas import samples

AGAIN = "the protocol has changed: if that is meant, run `make schemas` and commit what it writes"
SAMPLES = samples.sample_events()


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        pytest.param(json_schemas.FOLDER, json_schemas.files(), id="schemas"),
        pytest.param(samples.FOLDER, samples.files(), id="golden"),
    ],
)
def test_what_is_committed_is_what_the_code_speaks(folder: Path, wanted: dict[str, str]) -> None:
    committed = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.json")}
    assert sorted(committed) == sorted(wanted), AGAIN
    assert [name for name in wanted if committed[name] != wanted[name]] == [], AGAIN


@pytest.mark.parametrize("tag", SAMPLES)
def test_a_fact_is_valid_by_its_schema_and_its_tag_begins_with_a_stage(tag: str) -> None:
    schema = json.loads((json_schemas.FOLDER / f"{tag}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(events.to_json(SAMPLES[tag])), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"event": "nobody.said_this"}, schema)


def golden(name: str) -> tuple[dict[str, Any], bytes]:
    document = json.loads((samples.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document["value"], bytes.fromhex(document["bytes"])


@pytest.mark.parametrize("tag", SAMPLES)
def test_a_golden_fact_is_still_understood(tag: str) -> None:
    value, data = golden(tag)
    event = events.decode(data)
    assert event == SAMPLES[tag]
    assert msgspec.to_builtins(event) == msgspec.to_builtins(msgspec.convert(value, type(event)))
    assert msgspec.msgpack.decode(data)["event"] == tag


@pytest.mark.parametrize("name", samples.FRAMES)
def test_a_golden_frame_is_still_understood(name: str) -> None:
    _, data = golden(name)
    assert media.decode(data) == samples.FRAMES[name]


@pytest.mark.parametrize("name", samples.CONTROLS)
def test_a_golden_control_message_is_still_understood(name: str) -> None:
    _, data = golden(name)
    assert control.decode(data, samples.CONTROLS[name]) == samples.sample(samples.CONTROLS[name])


@pytest.mark.parametrize("name", samples.REQUESTS)
def test_a_golden_request_to_the_config_service_is_still_understood(name: str) -> None:
    _, data = golden(name)
    assert msgspec.json.decode(data, type=samples.REQUESTS[name]) == samples.sample(samples.REQUESTS[name])
