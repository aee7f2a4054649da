"""Writes a JSON Schema for each fact, so that a reader in any language knows what may be said: `make schemas`.

schemas/json/<tag>.json describes the msgpack map of that fact. A fact may carry fields that its schema does not know.
"""

import inspect
import json
from pathlib import Path

import msgspec

from schemas import events

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(fact: type[events.Fact]) -> str:
    """The JSON Schema of one fact, as the text of its file."""
    document = {"$schema": DIALECT, **msgspec.json.schema(fact)}
    for definition in document["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return json.dumps(document, indent=2) + "\n"


def files() -> dict[str, str]:
    """File name -> text, for every fact."""
    return {f"{events.tag(fact)}.json": schema(fact) for fact in events.FACTS}


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
