"""Writes a JSON Schema for each event, so that a reader in any language knows what may be said: `make schemas`.

schemas/json/<tag>.json describes the msgpack map of one event. An event may carry fields that its schema lacks.
"""

import inspect
import json
from pathlib import Path

import msgspec

from schemas import events

FOLDER = Path(__file__).parents[1] / "schemas" / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(event: type[events.Event]) -> str:
    """The JSON Schema of one event, as the text of its file."""
    document = {"$schema": DIALECT, **msgspec.json.schema(event)}
    for definition in document["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return json.dumps(document, indent=2) + "\n"


def files() -> dict[str, str]:
    """File name -> text, for every event."""
    return {f"{events.tag(event)}.json": schema(event) for event in events.EVENTS}


def write(folder: Path, wanted: dict[str, str]) -> None:
    """Make `folder` hold exactly these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.json"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER, files())
