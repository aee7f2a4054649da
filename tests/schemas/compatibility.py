"""What today's protocol breaks of the released ones, each as a sentence; `python -m tests.schemas.compatibility`.

Both directions count: today's code must read what older stages said, and what it says must be what older readers know.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from docs import asyncapi
from schemas import breakers, config, control, events, media

RELEASED = Path(__file__).parent / "released"
WORDS = ("title", "description")  # of a schema: may be put better


def problems() -> list[str]:
    """Everything that is broken; each sentence begins with the release that it is broken for."""
    today = json.loads(asyncapi.text())
    found = []
    for release in sorted(folder for folder in RELEASED.iterdir() if folder.is_dir()):
        document = json.loads((release / "asyncapi.json").read_text(encoding="utf-8"))
        sentences = [*changed(document, today), *unread(release / "golden")]
        found += [f"{release.name}: {sentence}" for sentence in sentences]
    return found


# --- what is said today -----------------------------------------------------------------------------------------------


def changed(released: dict[str, Any], today: dict[str, Any]) -> Iterator[str]:
    """What the AsyncAPI document of a release promised and today's does not keep."""
    for name, channel in released["channels"].items():
        now = today["channels"].get(name, {})
        if now.get("address", "gone") != channel["address"]:
            yield f"the channel `{name}` was at {channel['address']}"
        for message in channel["messages"].keys() - now.get("messages", {}).keys():
            yield f"`{message}` is no longer said on the channel `{name}`"
    for name, operation in released["operations"].items():
        now = today["operations"].get(name, {"messages": []})
        for message in operation["messages"]:
            if message not in now["messages"]:
                yield f"`{message['$ref'].rpartition('/')[2]}` is no longer among what `{name}` says"
    for name, message in released["components"]["messages"].items():
        now = today["components"]["messages"].get(name)
        if now is not None:
            yield from _message(name, message, now)
    for name, schema in released["components"]["schemas"].items():
        now = today["components"]["schemas"].get(name)
        if now is None:
            yield f"`{name}` is gone"
        else:
            yield from _fields(name, schema, now)


def _message(name: str, released: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    if now["contentType"] != released["contentType"]:
        yield f"`{name}` was {released['contentType']}"
    places = [(row["offset"], row["type"], row["field"]) for row in now.get("x-prefix", ())]
    for row in released.get("x-prefix", ()):
        if (row["offset"], row["type"], row["field"]) not in places:
            yield f"the prefix of `{name}` had `{row['field']}` at {row['offset']} as {row['type']}"
    for flag, bit in released.get("x-flags", {}).items():
        if now["x-flags"].get(flag) != bit:
            yield f"the flag `{flag}` of `{name}` was {bit}"


def _fields(name: str, released: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for field, schema in released["properties"].items():
        if field not in now["properties"]:
            yield f"`{name}.{field}` is gone"
        elif _shape(now["properties"][field]) != _shape(schema):
            yield f"`{name}.{field}` was {json.dumps(_shape(schema))}"
        elif (field in released["required"]) != (field in now["required"]):
            yield f"`{name}.{field}` was {'always' if field in released['required'] else 'not always'} there"
    for field in now["properties"].keys() - released["properties"].keys():
        if field in now["required"]:
            yield f"`{name}.{field}` is new and has no default"


def _shape(schema: Any) -> Any:
    """Type, unit and default, without words."""
    if isinstance(schema, dict):
        return {key: _shape(value) for key, value in schema.items() if key not in WORDS}
    return [_shape(one) for one in schema] if isinstance(schema, list) else schema


# --- what was said then -----------------------------------------------------------------------------------------------


def unread(golden: Path) -> Iterator[str]:
    """Messages of a release that today's code does not read, or reads as something else."""
    for file in sorted(golden.glob("*.json")):
        sample = json.loads(file.read_text(encoding="utf-8"))
        try:
            now = _read(file.stem, bytes.fromhex(sample["bytes"]))
        except (AttributeError, control.BadMessage, events.BadEvent, media.BadFrame, msgspec.MsgspecError) as error:
            yield f"`{file.stem}` is no longer read: {error}"
        else:
            yield from _lost(file.stem, sample["value"], json.loads(msgspec.json.encode(now)))


def _read(name: str, data: bytes) -> Any:
    kind, _, message = name.partition(".")
    if kind == "media":
        return media.decode(data)
    if kind in ("control", "breakers"):
        return control.decode(data, getattr(control if kind == "control" else breakers, message))
    if kind == "config":
        return msgspec.json.decode(data, type=getattr(config, message))
    return events.decode(data)


def _lost(place: str, then: Any, now: Any) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key, value in then.items():
            yield from _lost(f"{place}.{key}", value, now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, value in enumerate(then):
            yield from _lost(f"{place}.{number}", value, now[number])
    elif type(then) is not type(now) or then != now:
        yield f"`{place}` was {json.dumps(then)} and is read as {json.dumps(now)}"


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or None)
