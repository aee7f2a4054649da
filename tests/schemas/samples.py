"""One sample of everything that is said on the bus, made from the types alone: a new event has a sample at once.

tests/schemas/golden/<name>.json holds the value as JSON and the bytes as they travel. A changed file is a changed
protocol and is reviewed as one. `make schemas` writes them anew.
"""

import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

from docs import json_schemas
from schemas import breakers, config, control, events, media

FOLDER = Path(__file__).parent / "golden"

FRAMES = {
    "media.caller": media.Frame(pcm=b"\x01\x00\xff\x7f\x00\x80", epoch=1, seq=2, rate=16_000, at=3),
    "media.agent": media.Frame(
        pcm=b"\x34\x12",
        epoch=0x01020304,
        seq=0x05060708,
        rate=24_000,
        at=0x0102030405060708,
        turn=0x090A0B0C,
        segment=0x0D0E,
        flags=media.Flag.FIRST_OF_SEGMENT | media.Flag.LAST_OF_SEGMENT,
    ),
    "media.end_of_turn": media.Frame(
        pcm=b"",
        epoch=1,
        seq=9,
        rate=24_000,
        turn=2,
        segment=3,
        flags=media.Flag.LAST_OF_SEGMENT | media.Flag.LAST_OF_TURN,
    ),
}

SPOKEN = ("text", "heard", "message", "detail")  # free text: the sample holds a letter beyond ASCII


def messages(module: types.ModuleType) -> dict[str, type[msgspec.Struct]]:
    """Name -> every message that `module` defines."""
    return {
        f"{module.__name__.removeprefix('schemas.')}.{name}": message
        for name, message in inspect.getmembers(module, inspect.isclass)
        if issubclass(message, msgspec.Struct) and message.__module__ == module.__name__
    }


CONTROLS = messages(control) | messages(breakers)  # msgpack on the wire
REQUESTS = messages(config)  # JSON on the wire


def sample(struct: type[msgspec.Struct]) -> Any:
    """A value of `struct` with every field set, and no two integers of it alike."""
    fields = msgspec.structs.fields(struct)
    return struct(**{field.name: _value(field.type, field.name, place) for place, field in enumerate(fields, start=1)})


def sample_events() -> dict[str, events.Event]:
    """Tag -> a sample of that event."""
    return {events.tag(event): sample(event) for event in events.EVENTS}


def files() -> dict[str, str]:
    """File name -> text, for everything that is said."""
    said: dict[str, tuple[Any, bytes]] = {tag: (event, events.encode(event)) for tag, event in sample_events().items()}
    said |= {name: (sample(message), control.encode(sample(message))) for name, message in CONTROLS.items()}
    said |= {name: (sample(message), msgspec.json.encode(sample(message))) for name, message in REQUESTS.items()}
    said |= {name: (frame, media.encode(frame)) for name, frame in FRAMES.items()}
    return {f"{name}.json": _text(value, data) for name, (value, data) in said.items()}


def _value(kind: Any, name: str, place: int) -> Any:
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _value(next(one for one in inside if one is not type(None)), name, place)
    if origin is typing.Literal:
        return inside[0]
    if origin in (list, tuple):
        many = [_value(one, name, place) for one in inside if one is not Ellipsis]
        return origin(many)
    if origin is dict:
        return {_value(inside[0], f"{name}_key", place): _value(inside[1], name, place)}
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        return sample(kind)
    text = f"{name} é" if name in SPOKEN else name
    plain = {bool: True, int: 1_000 + place, float: place + 0.5, str: text, bytes: bytes([place, 255])}
    return f"{name}_any" if kind is Any else plain[kind]


def _text(value: Any, data: bytes) -> str:
    document = {"value": msgspec.to_builtins(value), "bytes": data.hex(" ", 1)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    json_schemas.write(FOLDER, files())
