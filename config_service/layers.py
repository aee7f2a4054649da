"""The layers that a call's configuration is made of, and the origin of each of its fields. Pure.

From the lowest: the system's defaults, variables `ANTIPHON_DEFAULT_<PATH>` of the config service's process, the
agent's document, the overrides of the campaign.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import BaseModel

from config_service import documents
from config_service.documents import BadDocument
from config_service.merge import fields, merge, origins, resolve
from schemas.agent import AgentDocument
from schemas.config import FieldOrigin

PREFIX = "ANTIPHON_DEFAULT_"
DEFAULT, ENVIRONMENT, AGENT, CAMPAIGN = "default", "environment", "agent", "campaign"
UNSET = ("id",)  # the agent's own, never a default


class Layers(NamedTuple):
    """What was set for the calls of one agent, or of one of its campaigns, as documents store it."""

    environment: Mapping[str, Any]
    agent: Mapping[str, Any]
    campaign: Mapping[str, Any]

    def resolved(self) -> AgentDocument:
        """Return the document that calls run on. Raises BadDocument if the layers make none."""
        return documents.parse(resolve(self))

    def explained(self) -> list[FieldOrigin]:
        """Return each field of the document with its value and its layer, in the order of the paths."""
        lowest = AgentDocument(id=str(self.agent["id"])).model_dump()
        layers = {DEFAULT: lowest, ENVIRONMENT: self.environment, AGENT: self.agent, CAMPAIGN: self.campaign}
        values = dict(fields(resolve(list(layers.values()))))
        return [FieldOrigin(path, values[path], layer) for path, layer in sorted(origins(layers).items())]


def read_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the layer of the environment; each variable is a field in capitals: `ANTIPHON_DEFAULT_TURNS_MIN_DELAY_MS`.

    A list or a mapping is written as JSON. Raises BadDocument that names the variable.
    """
    paths = dict(_paths(AgentDocument))
    layer: dict[str, Any] = {}
    for name in sorted(name for name in variables if name.startswith(PREFIX)):
        path = paths.get(name)
        if path is None:
            near = get_close_matches(name, paths, 1)
            remedy = f"Did you mean {near[0]}?" if near else "Its end is a field of an agent in capitals."
            raise BadDocument(f"cannot use {name}: it names no field of an agent. {remedy}")
        value = _read(variables[name])
        for part in reversed(path):
            value = {part: value}
        layer = merge(layer, _checked(name, value))
    return layer


def _checked(name: str, value: Any) -> dict[str, Any]:
    """Return one variable's part of the layer, in the form in which agents are stored."""
    try:
        plain = documents.plain(documents.parse({"id": documents.DEFAULT_ID, **value}))
    except BadDocument as wrong:
        raise BadDocument(f"cannot use {name}: {wrong}") from None
    return {field: inner for field, inner in plain.items() if field not in UNSET}


def _paths(kind: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (variable, path) of every field; a model within a model has variables for its own fields, too."""
    for name, field in kind.model_fields.items():
        path = (*above, name)
        if path not in {(unset,) for unset in UNSET}:
            yield PREFIX + "_".join(path).upper(), path
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, path)


def _read(text: str) -> Any:
    """Return JSON where the text is a list or a mapping; pydantic reads numbers and booleans from text itself."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
