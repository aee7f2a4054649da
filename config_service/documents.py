"""Check agent documents: every complaint names the field, the line where one is known, and what to do."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config_service.source_text import NOWHERE, Path, Place, Places
from schemas.agent import AgentDocument, AgentFact, ProviderChoice, Turns
from schemas.config import MAX_DOCUMENT_BYTES

DEFAULT_ID = "default"
DEFAULT = AgentDocument(id=DEFAULT_ID, greeting="Hello! How can I help you?")  # a fresh platform can be called at once

_FIELDS = [name for kind in (AgentDocument, AgentFact, ProviderChoice, Turns) for name in kind.model_fields]
_REMEDIES = {  # pydantic's type of error -> what to do
    "missing": "Add it.",
    "string_type": "Write text, and quote it if YAML or JSON would read it as something else.",
    "int_parsing": "Write a whole number, such as 300.",
    "int_type": "Write a whole number, such as 300.",
    "int_from_float": "Write a whole number, such as 300.",
    "bool_parsing": "Write true or false.",
    "bool_type": "Write true or false.",
    "list_type": "Write a list, such as [first, second].",
    "dict_type": "Write a mapping, such as {model: name}.",
    "model_type": "Write a mapping, such as {provider: local} or {min_delay_ms: 300}.",
}


class BadDocument(ValueError):
    """The text is not an agent document; the message names the file, the agent or the field.

    line: of the first complaint, 1 for the first line; None where it is not known.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class StaleRevision(Exception):
    """An agent or campaign is not at the version that its writer read: another writer stored it meanwhile."""


class UnknownVersion(Exception):
    """There is no such agent, campaign or version."""


def parse(data: Any, places: Places = NOWHERE) -> AgentDocument:
    """Return a checked document. Raises BadDocument with every field that is wrong.

    places: of the values of `data` in the text that it was read from. A number or a boolean that was written without
    quotes where text is wanted becomes the text as it was written, also in `data`.
    """
    if not isinstance(data, dict):
        raise BadDocument("an agent is a mapping with an id, like {id: receptionist, prompt: ...}")
    try:
        document = _validate(data, places)
    except ValidationError as error:
        raise complaints(error.errors(), places) from None
    size = len(encode(document))
    if size > MAX_DOCUMENT_BYTES:
        raise BadDocument(f"{document.id}: {size} bytes are more than {MAX_DOCUMENT_BYTES}: shorten facts or options")
    return document


def encode(document: AgentDocument) -> bytes:
    """Return the document as JSON. Raises BadDocument where an option is not JSON."""
    try:
        return json.dumps(plain(document), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise BadDocument(f"{document.id}: not JSON: {error}") from None


def plain(document: AgentDocument) -> dict[str, Any]:
    """Return the document as maps and lists, with the fields that its author set."""
    return document.model_dump(exclude_unset=True)


def _validate(data: dict[str, Any], places: Places) -> AgentDocument:
    try:
        return AgentDocument.model_validate(data)
    except ValidationError as error:
        unquoted = [_place(wrong["loc"], places) for wrong in error.errors() if wrong["type"] == "string_type"]
        texts = {path: place.text for path, place in unquoted if place and place.text is not None}
        if not texts:
            raise
    _replace(data, texts)
    return AgentDocument.model_validate(data)


def _replace(data: Any, values: Mapping[Path, Any]) -> None:
    for path, value in values.items():
        parent = data
        for part in path[:-1]:
            parent = parent[part]
        parent[path[-1]] = value


def _place(field: Path, places: Places) -> tuple[Path, Place | None]:
    """Return the place of a field, or of the nearest value that holds it."""
    while field and field not in places:
        field = field[:-1]
    return field, places.get(field)


def complaints(errors: list[ErrorDetails], places: Places) -> BadDocument:
    """Return one error for all; the line of the first stands in `line`, so that the reader puts the file beside it."""
    lines = [place.line if place else None for _path, place in (_place(wrong["loc"], places) for wrong in errors)]
    texts = [_complaint(wrong) for wrong in errors]
    others = zip(lines[1:], texts[1:], strict=True)
    rest = [f"line {line}: {text}" if line else text for line, text in others]
    return BadDocument("; ".join([texts[0], *rest]), lines[0])


def _complaint(wrong: ErrorDetails) -> str:
    field = ".".join(str(part) for part in wrong["loc"])
    return f"{field}: {wrong['msg'].removeprefix('Value error, ')}{_remedy(wrong)}"


def _remedy(wrong: ErrorDetails) -> str:
    kind, field = wrong["type"], wrong["loc"]
    if kind == "extra_forbidden":
        near = get_close_matches(str(field[-1]), _FIELDS, 1)
        if near:
            return f". Did you mean {near[0]}?"
        return ". Quote a fact that holds ': '." if field[0] == "facts" else ". Leave it out."
    if wrong["input"] is None and kind != "missing":
        return ". It is empty here: write a value, or leave the line out."
    remedy = _REMEDIES.get(kind)
    return f". {remedy}" if remedy else ""
