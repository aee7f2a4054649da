"""Check campaigns and phone numbers, and apply a campaign's overrides to its agent. Pure."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from config_service import documents
from config_service.documents import BadDocument
from config_service.merge import merge
from config_service.source_text import NOWHERE, Places
from schemas.agent import AgentDocument
from schemas.campaign import CampaignDocument, PhoneNumber

OVERRIDES = "overrides"

T = TypeVar("T", bound=BaseModel)


def parse_campaign(data: Any, places: Places = NOWHERE) -> CampaignDocument:
    """Return a checked campaign, its overrides in the form in which agents are stored. Raises BadDocument."""
    campaign = _validated(CampaignDocument, data, places)
    try:
        overrides = _checked(campaign.agent, campaign.overrides, places)
    except BadDocument as wrong:
        raise BadDocument(f"campaign {campaign.campaign} of {campaign.agent}: {wrong}", wrong.line) from None
    return campaign.model_copy(update={OVERRIDES: overrides})


def parse_number(data: Any, places: Places = NOWHERE) -> PhoneNumber:
    """Return a checked phone number. Raises BadDocument."""
    return _validated(PhoneNumber, data, places)


def apply(agent: Mapping[str, Any], campaign: str, overrides: Mapping[str, Any]) -> AgentDocument:
    """Return the agent as the calls of a campaign run on it. Raises BadDocument if the two make no valid agent."""
    try:
        return documents.parse(merge(agent, overrides))
    except BadDocument as wrong:
        raise BadDocument(f"campaign {campaign} of {agent.get('id')}: with its overrides: {wrong}") from None


def _validated(kind: type[T], data: Any, places: Places) -> T:
    if not isinstance(data, dict):
        raise BadDocument("a campaign is a mapping like {agent: desk, campaign: summer, overrides: {greeting: Hi!}}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise documents.complaints(error.errors(), places) from None


def _checked(agent: str, overrides: dict[str, Any], places: Places) -> dict[str, Any]:
    if "id" in overrides:
        raise BadDocument("overrides.id: a campaign cannot change the id. Leave it out.")
    _check_nulls(AgentDocument, overrides)
    here = {path[1:]: place for path, place in places.items() if path[:1] == (OVERRIDES,)}
    document = documents.parse({"id": agent, **_without_nulls(overrides)}, here)
    plain = documents.plain(document)
    del plain["id"]
    return _with_nulls(plain, overrides)


def _check_nulls(kind: type[BaseModel], overrides: Mapping[str, Any]) -> None:
    """Raise BadDocument for a null that takes away a field which no agent has."""
    for name, value in overrides.items():
        field = kind.model_fields.get(name)
        if value is None and field is None:
            raise BadDocument(f"overrides: there is no field {name!r} to take away. Leave it out.")
        inner = field.annotation if field else None
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            _check_nulls(inner, value)


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def _with_nulls(plain: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `plain` with the nulls of `overrides` at their places."""
    whole = dict(plain)
    for name, value in overrides.items():
        if value is None:
            whole[name] = None
        elif isinstance(value, Mapping):
            inner = whole.get(name)
            whole[name] = _with_nulls(inner if isinstance(inner, Mapping) else {}, value)
    return whole
