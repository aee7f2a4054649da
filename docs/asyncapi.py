"""All that is said on the bus as an AsyncAPI 3 document, which generators and viewers for many languages read.

It is made from the types and the tables of docs/channels.py; docs/asyncapi.json is the committed copy (`make docs`).
What AsyncAPI cannot say stands in fields of ours: `x-unit` of a field, `x-prefix` and `x-flags` of a media message.
"""

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bus.settings import DEFAULT_NATS_URL
from docs import fields
from docs.channels import CHANNELS, OPERATIONS, PARAMETERS, REPLIES, Channel, Operation, Struct
from schemas import control, events, media

SPECIFICATION = "3.0.0"

ABOUT = """\
The stages of a call speak to each other over NATS, and whoever may subscribe can listen.

A message is a map with named fields; a reader ignores those that it does not know. Whatever is sent in this major
version can be read by whoever read its first release: fields are only ever added, each with a default. A field without
a default is always there. `bytes` (`contentEncoding: base64`) are the binary type of msgpack on the wire.

Each operation is named after who does it. Those of `subscriber` are for you; to take part in a call you need a stage.
"""

_PREFIX_ROW = re.compile(r"^ +(\d+) +(u\d+) +(\w+) +(.+)$", re.MULTILINE)


def document() -> dict[str, Any]:
    """The whole document, as JSON would hold it."""
    said = {message: channel.content for channel in CHANNELS.values() for message in channel.messages} | REPLIES
    return {
        "asyncapi": SPECIFICATION,
        "info": {"title": "Antiphon", "version": f"{control.VERSION}.0.0", "description": ABOUT},
        "servers": {"local": {"host": urlsplit(DEFAULT_NATS_URL).netloc, "protocol": "nats"}},
        "channels": {name: _channel(channel) for name, channel in CHANNELS.items()}
        | {"reply": {"address": None, "description": "The requester's inbox.", "messages": _messages(REPLIES)}},
        "operations": {f"{operation.who}.{operation.does}": _operation(operation) for operation in OPERATIONS},
        "components": {
            "messages": {name(message): _message(message, content) for message, content in said.items()},
            "schemas": _schemas([message for message in said if message is not media.Frame]),
        },
    }


def text() -> str:
    """The document as the text of its file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def name(message: Struct) -> str:
    """What a message is called: an event by its tag, everything else by its class."""
    return events.tag(message) if issubclass(message, events.Event) else message.__name__


def prefix_fields() -> list[dict[str, Any]]:
    """The fixed prefix of a media message, read from the table at the head of schemas/media.py."""
    rows = _PREFIX_ROW.findall(inspect.getdoc(media) or "")
    return [dict(offset=int(row[0]), type=row[1], field=row[2], meaning=row[3]) for row in rows]


# --- parts ------------------------------------------------------------------------------------------------------------


def _channel(channel: Channel) -> dict[str, Any]:
    tokens = channel.subject.split(".")
    parameters = [token.lower() for token in tokens if token.isupper()]
    found: dict[str, Any] = {
        "address": ".".join(f"{{{token.lower()}}}" if token.isupper() else token for token in tokens),
        "description": channel.about,
        "messages": _messages(channel.messages),
        "parameters": {parameter: dict(PARAMETERS[parameter]) for parameter in parameters},
    }
    if all(issubclass(message, events.Event) for message in channel.messages) and channel.messages:
        for parameter in ("agent", "session"):
            found["parameters"][parameter]["location"] = f"$message.payload#/{parameter}"
    return found


def _messages(messages: Iterable[Struct]) -> dict[str, Any]:
    return {name(message): {"$ref": f"#/components/messages/{name(message)}"} for message in messages}


def _operation(operation: Operation) -> dict[str, Any]:
    messages = operation.messages or CHANNELS[operation.channel].messages
    found: dict[str, Any] = {
        "action": operation.action,
        "channel": {"$ref": f"#/channels/{operation.channel}"},
        "summary": operation.about,
        "messages": [{"$ref": f"#/channels/{operation.channel}/messages/{name(message)}"} for message in messages],
    }
    if operation.replies:
        replies = [{"$ref": f"#/channels/reply/messages/{name(reply)}"} for reply in operation.replies]
        found["reply"] = {"channel": {"$ref": "#/channels/reply"}, "messages": replies}
    return found


def _message(message: Struct, content: str) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(message) or "").partition("\n\n")
    found = {"name": name(message), "title": message.__name__, "summary": " ".join(summary.split())}
    if message is media.Frame:
        return {**found, "contentType": content, **_frame()}
    payload = {"$ref": f"#/components/schemas/{message.__name__}"}
    examples = [{"payload": msgspec.to_builtins(fields.example(message))}]
    return {**found, **({"description": more} if more else {}), "contentType": content, "payload": payload,
            "examples": examples}  # fmt: skip


def _frame() -> dict[str, Any]:
    rows = [f"| {row['offset']} | {row['type']} | {row['field']} | {row['meaning']} |" for row in prefix_fields()]
    flags = {str(flag.name).lower(): flag.value for flag in media.Flag}
    table = "\n".join(["| offset | type | field | meaning |", "|---|---|---|---|", *rows])
    return {
        "description": f"A prefix of {media.PREFIX_BYTES} bytes, little-endian, then PCM, 16-bit little-endian mono, at"
        f" most {media.MAX_CHUNK_MS} ms.\n\n{table}\n\nFlags: "
        + ", ".join(f"{bit} {flag}" for flag, bit in flags.items()) + ".",
        "payload": {"type": "string", "format": "binary"},
        "x-prefix": prefix_fields(),
        "x-flags": flags,
    }  # fmt: skip


def _schemas(messages: Iterable[Struct]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(messages, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
        for field, about in schema["properties"].items():
            if unit := fields.unit(field):
                about["x-unit"] = unit
    return dict(sorted(_older(schemas).items()))


def _older(schema: Any) -> Any:
    """In the words of JSON Schema draft 7, which AsyncAPI is built on: a tuple's `prefixItems` were its `items`."""
    if isinstance(schema, list):
        return [_older(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {key: _older(value) for key, value in schema.items()}
    if "prefixItems" in renamed:
        renamed["items"] = renamed.pop("prefixItems")
        renamed["additionalItems"] = False
    return renamed
