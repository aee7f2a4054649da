"""Agent documents, checked: every complaint is one line that names the field."""

import json
from typing import Any

from pydantic import ValidationError

from schemas.agent import AgentDocument
from schemas.config import MAX_DOCUMENT_BYTES

DEFAULT_ID = "default"
DEFAULT = AgentDocument(id=DEFAULT_ID, greeting="Hello! How can I help you?")  # there is always somebody to talk to


class BadDocument(ValueError):
    """Not an agent document; the message names the file, the agent or the field."""


def parse(data: Any) -> AgentDocument:
    """A checked document; raises BadDocument with every field that is wrong."""
    if not isinstance(data, dict):
        raise BadDocument("an agent is a mapping with an id, like {id: receptionist, prompt: ...}")
    try:
        document = AgentDocument.model_validate(data)
    except ValidationError as error:
        raise BadDocument("; ".join(_complaint(wrong) for wrong in error.errors())) from None
    size = len(encode(document))
    if size > MAX_DOCUMENT_BYTES:
        raise BadDocument(f"{document.id}: {size} bytes are more than {MAX_DOCUMENT_BYTES}: shorten facts or options")
    return document


def encode(document: AgentDocument) -> bytes:
    """The document as JSON; raises BadDocument where an option is not JSON."""
    try:
        return json.dumps(plain(document), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise BadDocument(f"{document.id}: not JSON: {error}") from None


def plain(document: AgentDocument) -> dict[str, Any]:
    """The document as maps and lists, without what it only says by default."""
    return document.model_dump(exclude_defaults=True)


def _complaint(wrong: Any) -> str:
    where = ".".join(str(part) for part in wrong["loc"])
    return f"{where}: {wrong['msg'].removeprefix('Value error, ')}"
